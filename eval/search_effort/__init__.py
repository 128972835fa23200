"""Does a student need a wider search? Recall against exact search, by how far an approximate index looks."""
