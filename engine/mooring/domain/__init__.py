"""The nouns of Mooring: frozen dataclasses, enums and errors. No I/O, no clock, no randomness."""
