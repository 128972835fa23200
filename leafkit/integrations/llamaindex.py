"""LlamaIndex: `LeafkitEmbedding` for a vector store, `LeafkitRetriever` over an index. Needs llama-index-core."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

# No dependency of leafkit, and so unknown to a type checker.
from llama_index.core.base.base_retriever import BaseRetriever  # type: ignore[import-not-found]
from llama_index.core.base.embeddings.base import BaseEmbedding  # type: ignore[import-not-found]
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode  # type: ignore[import-not-found]
from pydantic import PrivateAttr

from leafkit.integrations.retrieval import Encoders, check_options, open_searcher, passages
from leafkit.search.hits import OWN
from leafkit.search.searcher import Searcher
from leafkit.types import Encoder


class LeafkitEmbedding(BaseEmbedding):
    """Queries by a student, and documents by its teacher, for vector stores that hold the teacher's vectors."""

    _encoders: Encoders = PrivateAttr()

    def __init__(self, student: str | Path | Encoder, *, documents: Encoder | None = None, **options: Any) -> None:
        """Open ``student``; without ``documents``, the encoder of documents, they are refused.

        options: those of LlamaIndex's ``BaseEmbedding``.
        """
        name = str(student) if isinstance(student, str | Path) else student.space.id
        super().__init__(**{"model_name": name, **options})
        self._encoders = Encoders(student, documents)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex records."""
        return "LeafkitEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._encoders.query(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._encoders.query, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._encoders.documents([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._encoders.documents(texts)


class LeafkitRetriever(BaseRetriever):
    """A retriever over an index, with the student inside."""

    def __init__(
        self,
        index: str | Path | Searcher,
        *,
        k: int = 10,
        text_column: str = "text",
        callback_manager: Any = None,
        **options: Any,
    ) -> None:
        """Open ``index``, an index folder or an open `Searcher`.

        k: nodes for each query.
        text_column: the column that becomes the text of a node.
        options: ``where``, ``hybrid`` and what else `Searcher.search` takes.

        Raises the errors of `Searcher.open`, and `OptionError` for an unknown option.
        """
        super().__init__(callback_manager=callback_manager)
        check_options(options)
        self._searcher = open_searcher(index)
        self._text_column = text_column
        self._options = {"k": k, **options}

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._searcher.search(query_bundle.query_str, **self._options)
        return [
            NodeWithScore(
                node=TextNode(
                    id_=one.id,
                    text=one.text,
                    metadata=one.metadata,
                    # Scores tell a language model nothing.
                    excluded_llm_metadata_keys=list(OWN),
                    excluded_embed_metadata_keys=list(OWN),
                ),
                score=one.score,
            )
            for one in passages(hits, self._text_column)
        ]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)
