"""Container images made without a registry, kept as archives in the cache."""
