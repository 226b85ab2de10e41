"""Storage pool backends: one module each, unaware of each other."""
