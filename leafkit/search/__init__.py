"""The search host: open an index, encode queries and search, without torch."""
