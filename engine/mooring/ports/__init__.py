"""Protocols between deciding and acting. Small; each method says what repeats and absences do."""
