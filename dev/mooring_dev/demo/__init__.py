"""`make demo`: the story of one database, told on a real cluster, each step checked."""
