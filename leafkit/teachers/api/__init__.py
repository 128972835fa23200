"""Teachers behind an API: one table of dialects, one client with limits, and a budget."""
