"""Reading texts from files, folders and hub datasets, each text with an id, a role and the other columns of its row."""
