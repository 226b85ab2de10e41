"""The backup engine: capture, restore, verify, on any blob store."""
