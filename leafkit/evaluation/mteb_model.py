"""A teacher, a student, or both, as the encoder that mteb measures.

Imported only when mteb is there. In retrieval the prompt type says the side: queries by one encoder, documents by
the other. Tasks without sides (STS, classification, clustering) give no prompt type; then `symmetric_role` says how.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.similarity_functions import cos_sim, pairwise_cos_sim
from mteb.types import PromptType

from leafkit.errors import OptionError
from leafkit.evaluation.grid import Cell, CellFinder, truncated
from leafkit.evaluation.modes import Retriever
from leafkit.space import Space
from leafkit.types import Float32, Role

ROUTING = "r1"
"""Part of every cache key; raise it when the same model would be measured otherwise than before."""


_ROLES: dict[PromptType, Role] = {PromptType.query: "query", PromptType.document: "document"}


def symmetric_role(space: Space) -> Role:
    """The role of texts that are neither queries nor documents: document, unless only queries may stand alone.

    Model cards use no prompt there, and most spaces have none for documents. Where documents have a prompt, the
    query's is used (the E5 cards: "use the query prefix for symmetric tasks").
    """
    return "query" if space.document_prompt else "document"


class MtebModel:
    """The encoder of one retriever at one dim; the cell is part of what tells its cached results from all others."""

    def __init__(self, retriever: Retriever, cell: Cell, *, encoder: str) -> None:
        """``encoder`` says what the student was opened as."""
        self._retriever = retriever
        self._dim = cell.dim
        space = retriever.document_encoder.space
        name = f"{retriever.mode}-{Path(retriever.student or space.teacher).name}"
        made = f"{retriever.student_sha256[:16]}-{encoder}" if retriever.student else "teacher"
        overwrites = {
            "name": f"leafkit/{name}",
            "revision": f"{space.id}-{made}-{retriever.mode}-{cell.dim}-{cell.precision}-{ROUTING}",
            "embed_dim": cell.dim,
            "max_tokens": space.max_length,
            "similarity_fn_name": ScoringFunction.COSINE,
        }
        self.mteb_model_meta = ModelMeta.create_empty(overwrites)

    def encode(self, inputs: Any, *, prompt_type: PromptType | None = None, **_: Any) -> Float32:
        """Vectors of every text of the batches, shape (texts, dim), in order."""
        texts = [text for batch in inputs for text in batch["text"]]
        encoder = (
            self._retriever.document_encoder if prompt_type is PromptType.document else self._retriever.query_encoder
        )
        role = _ROLES[prompt_type] if prompt_type else symmetric_role(encoder.space)
        return truncated(encoder.encode(texts, role), self._dim)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """The cosine of every pair, which is what an index of leafkit ranks by."""
        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """The cosine of each row with its partner."""
        return pairwise_cos_sim(embeddings1, embeddings2)


class CellBackend:
    """mteb's search over documents stored as ``cell`` says, in place of its own over float32."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._finder: CellFinder | None = None
        self._count = 0

    def add_documents(self, embeddings: Any, idxs: list[str]) -> None:
        """Store all document vectors; mteb hands them over in one call."""
        self._finder = CellFinder(embeddings, self._cell)
        self._count = len(idxs)

    def search(
        self, embeddings: Any, top_k: int, similarity_fn: Any, top_ranked: Any = None, query_idx_to_id: Any = None
    ) -> tuple[list[list[float]], list[list[int]]]:
        """Scores and row numbers of the best documents of each query; raises `OptionError` for a reranking."""
        if top_ranked is not None or self._finder is None:
            raise OptionError("this task reranks given documents, which only float32 can; leave other precisions out")
        found = self._finder.nearest(embeddings, min(top_k, self._count))
        return found.scores.tolist(), found.rows.tolist()

    def clear(self) -> None:
        """Forget the documents."""
        self._finder = None
