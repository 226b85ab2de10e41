"""Repository format number 1 as pure bytes: no I/O, no clock; salts and times are passed in.

docs/explanation/repository-format.md describes the same to the byte, for a reader in any language.
"""
