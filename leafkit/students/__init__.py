"""Where a student comes from, how its head starts, and the folder it ends up in."""
