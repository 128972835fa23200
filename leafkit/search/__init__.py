"""The search host: open an index package, encode queries and search. Needs numpy, FAISS, onnxruntime and tokenizers.

Nothing here writes. Packages are built and updated by `leafkit.index`.

- `searcher`: `Searcher` takes texts or vectors and returns documents with cosines.
- `hits`: `Hits`, which also turn into dictionaries, JSON and a DataFrame.
- `query_encoder`: `QueryEncoder`, an exported student that encodes queries.
- `encoders`: the encoders of an open index by effort, each opened when it is first used.
- `package`, `manifest`, `documents`, `rescoring`, `arrays`: read the files of an index package.
- `vector_search`: find the rows nearest to a query vector, with exact cosines for every index type.
- `faiss_index`, `plan`: call FAISS (no other file does), and choose the FAISS index that suits a corpus.

The names below are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leafkit.search.faiss_index import Depth as Depth
    from leafkit.search.hits import Hits as Hits
    from leafkit.search.query_encoder import QueryEncoder as QueryEncoder
    from leafkit.search.searcher import Searcher as Searcher

_MODULES = {
    "Depth": "leafkit.search.faiss_index",
    "Hits": "leafkit.search.hits",
    "QueryEncoder": "leafkit.search.query_encoder",
    "Searcher": "leafkit.search.searcher",
}

__all__ = ["Depth", "Hits", "QueryEncoder", "Searcher"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
