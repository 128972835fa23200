"""Databases that hold the vectors of an index: PostgreSQL with pgvector, and others behind the same protocol.

An engine is named by an address such as ``postgresql://user@host/database#table``::

    url        parses an address, and never shows its password
    contents   what leafkit records in the engine: the vector space, the width, the columns that filters may name
    engine     the protocol `Engine`, which each adapter implements, and the rows that go in and come out
    open       opens the adapter of an address

`leafkit.index.push` writes an index into an engine, `leafkit.index.verify` compares the engine's hits with exact ones,
`leafkit.index.pull` makes an index of an engine's rows, and `leafkit.search` searches there. To add an engine, write
its adapter in one file, and name it in `open.ADAPTERS` and in `leafkit.extras`.
"""
