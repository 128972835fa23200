"""leafkit inside other programs. Each of the first five modules imports its framework; no other module of leafkit does.

- `langchain`, `llamaindex`, `haystack_ai`: embeddings of queries, and retrievers over an index.
- `sklearn`: a transformer from texts to vectors, for pipelines.
- `mcp_server`: ``leafkit mcp``, a search tool for assistants that speak the Model Context Protocol.
- `search_tool`, `options`: what that tool answers, and its limits. `retrieval`: what embeddings and retrievers share.
"""
