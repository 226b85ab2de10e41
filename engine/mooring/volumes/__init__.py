"""Use cases of volumes: `local` acts on one node, `fleet` on many through the catalogue."""
