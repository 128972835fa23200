"""Students: how they are built, their parts, the closed-form start of their head, and their folder on disk."""
