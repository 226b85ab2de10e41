"""Builders of child objects: pure functions from facts to manifests."""
