"""`python -m mooring_operator` runs the operator."""

from mooring_operator import main

main.run()
