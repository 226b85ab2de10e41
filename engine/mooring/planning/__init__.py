"""Decisions: pure functions of what is observed and desired, returning values with a reason."""
