"""Bulk files: an index in the form that Elasticsearch, OpenSearch, Vespa or Weaviate loads.

- `write`: from an index to a folder of bulk files, with the schema, the commands that load them and the search.
- `fields`: which columns an engine gets by type, and what is left of a payload.
- `format`: what an engine has to say; `elastic`, `vespa` and `weaviate` say it.
- `query`: the program in the folder that prints a search.
"""
