"""Pure bytes of repository format 1: chunks, packs, tables, keys. No I/O."""
