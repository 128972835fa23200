"""Search effort: how far an approximate index must search for a student's queries, compared with its teacher's."""
