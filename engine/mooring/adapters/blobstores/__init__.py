"""Backup targets: one module each, unaware of each other."""
