"""Everything with effects. Imported only by the compose modules of the shells."""
