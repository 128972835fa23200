"""LangChain: `LeafkitEmbeddings` for a vector store, `LeafkitRetriever` over an index. Needs langchain-core."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

# No dependency of leafkit, and so unknown to a type checker.
from langchain_core.documents import Document  # type: ignore[import-not-found]
from langchain_core.embeddings import Embeddings  # type: ignore[import-not-found]
from langchain_core.retrievers import BaseRetriever  # type: ignore[import-not-found]
from langchain_core.runnables.config import run_in_executor  # type: ignore[import-not-found]
from pydantic import ConfigDict, PrivateAttr

from leafkit.integrations.retrieval import Encoders, check_options, open_searcher, passages
from leafkit.search.searcher import Searcher
from leafkit.types import Encoder


class LeafkitEmbeddings(Embeddings):
    """Queries by a student, and documents by its teacher, for vector stores that hold the teacher's vectors."""

    def __init__(self, student: str | Path | Encoder, *, documents: Encoder | None = None) -> None:
        """Open ``student``; without ``documents``, the encoder of documents, they are refused."""
        self._encoders = Encoders(student, documents)

    def embed_query(self, text: str) -> list[float]:
        """Return the student's vector of a query."""
        return self._encoders.query(text)

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the teacher's vectors of documents; raises `OptionError` if no encoder of documents was given."""
        return self._encoders.documents(texts)


class LeafkitRetriever(BaseRetriever):
    """A retriever over an index, with the student inside.

    index: an index folder, or an open `Searcher`.
    k: documents for each query.
    text_column: the column that becomes ``page_content``.

    Further arguments (``where``, ``hybrid``, ...) are those of `Searcher.search`. Each call may override them:
    ``retriever.invoke("a query", k=3, where={"year": 2024})``.

    Raises the errors of `Searcher.open`, and `OptionError` for an unknown argument.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="allow")

    index: str | Path | Searcher
    k: int = 10
    text_column: str = "text"
    _searcher: Searcher = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Open the index."""
        super().model_post_init(context)
        check_options(self.model_extra or {})
        self._searcher = open_searcher(self.index)

    def _get_relevant_documents(self, query: str, *, run_manager: Any = None, **options: Any) -> list[Document]:
        given = {"k": self.k, **(self.model_extra or {}), **options}
        return [
            Document(id=one.id, page_content=one.text, metadata=one.metadata)
            for one in passages(self._searcher.search(query, **given), self.text_column)
        ]

    async def _aget_relevant_documents(self, query: str, *, run_manager: Any = None, **options: Any) -> list[Document]:
        return await run_in_executor(None, partial(self._get_relevant_documents, query, **options))
