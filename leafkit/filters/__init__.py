"""The language of filters: conditions on the columns of documents, read from an expression or a mapping.

`where.read_where` returns the condition as a tree (`conditions`). `schema.Schema` knows the columns that a condition
may name, and `exact.reduced` rewrites a checked condition for stores with plainer types than Python's.
"""
