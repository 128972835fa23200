"""Haystack: `LeafkitTextEmbedder` before another retriever, `LeafkitRetriever` over an index. Needs haystack-ai."""

from __future__ import annotations

from typing import Any

# No dependency of leafkit, and so unknown to a type checker.
from haystack import Document, component, default_from_dict, default_to_dict  # type: ignore[import-not-found]

from leafkit.integrations.retrieval import Encoders, check_options, open_searcher, passages
from leafkit.search.searcher import Searcher


@component
class LeafkitTextEmbedder:
    """A component that turns a query into the student's vector, for document stores that hold the teacher's vectors."""

    def __init__(self, student: str) -> None:
        """Name ``student``, a folder or a student that ships. It is opened by `warm_up`, or by the first run."""
        self.student = student
        self._encoders: Encoders | None = None

    def warm_up(self) -> None:
        """Open the student; raises the errors of `leafkit.QueryEncoder.open`."""
        self._encoders = self._encoders or Encoders(self.student)

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """Return the vector of the query ``text`` as ``embedding``."""
        self._encoders = self._encoders or Encoders(self.student)
        return {"embedding": self._encoders.query(text)}


@component
class LeafkitRetriever:
    """A component that searches an index with the student inside."""

    def __init__(self, index: str, top_k: int = 10, text_column: str = "text", **options: Any) -> None:
        """Name the folder ``index``. It is opened by `warm_up`, or by the first run.

        top_k: documents for each query.
        text_column: the column that becomes the content of a document.
        options: ``where``, ``hybrid``, ``effort`` and what else `leafkit.Searcher.search` takes. `run` may override
            these three.

        Raises `OptionError` for an unknown option.
        """
        check_options(options)
        self.index = index
        self.top_k = top_k
        self.text_column = text_column
        self.options = options
        self._searcher: Searcher | None = None

    def warm_up(self) -> None:
        """Open the index; raises the errors of `leafkit.Searcher.open`."""
        self._searcher = self._searcher or open_searcher(self.index)

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        top_k: int | None = None,
        where: str | dict[str, Any] | None = None,
        hybrid: float | str | bool | None = None,
        effort: str | None = None,
    ) -> dict[str, Any]:
        """Return the documents for ``query`` as ``documents``, best first; None keeps what `__init__` got."""
        given = {"k": top_k, "where": where, "hybrid": hybrid, "effort": effort}
        options = {"k": self.top_k, **self.options} | {name: one for name, one in given.items() if one is not None}
        self._searcher = self._searcher or open_searcher(self.index)
        hits = self._searcher.search(query, **options)
        return {
            "documents": [
                Document(id=one.id, content=one.text, meta=one.metadata, score=one.score)
                for one in passages(hits, self.text_column)
            ]
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments of this component, for a pipeline that is saved."""
        return default_to_dict(self, index=self.index, top_k=self.top_k, text_column=self.text_column, **self.options)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LeafkitRetriever:
        """Make the component that `to_dict` described."""
        return default_from_dict(cls, data)
