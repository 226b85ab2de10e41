"""Runs the guard by `python -m`."""

from mooring.adapters.host.guard import main

if __name__ == "__main__":
    main.run()
