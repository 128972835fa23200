"""The index package: a folder that holds document vectors, documents and the query encoder that searches them."""
