"""Mooring: container data that stays where its pods run, survives day two, and comes back.

This package is what every Mooring process shares. Deciding is pure (`domain`, `planning`,
`backup.format`); acting is in `adapters`; the shells (`mooring_operator`, `mooring_csi`,
`mooring_cli`) only translate.
"""

__version__ = "0.1.0"
