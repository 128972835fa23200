"""The runtimes that can open a student, and whether each returns the vectors recorded at the student's export."""
