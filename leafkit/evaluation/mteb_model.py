"""A teacher, a student, or both together, as a model that mteb can measure.

Import this module only if mteb is installed. Retrieval tasks pass a prompt type that names the side: queries go to one
encoder, documents to the other. Tasks without sides (STS, classification, clustering) pass no prompt type. Their texts
get the role that `symmetric_role` returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.similarity_functions import cos_sim, pairwise_cos_sim
from mteb.types import PromptType

from leafkit.errors import OptionError
from leafkit.evaluation.grid import Cell, CellFinder, truncate
from leafkit.evaluation.modes import Retriever
from leafkit.space import Space
from leafkit.types import Float32, Role

ROUTING = "r1"
"""Part of every cache key. Raise it when a change makes the same model's results differ from cached ones."""


_ROLES: dict[PromptType, Role] = {PromptType.query: "query", PromptType.document: "document"}


def symmetric_role(space: Space) -> Role:
    """Return the role of texts that are neither queries nor documents: document, unless documents have a prompt.

    Model cards use no prompt for such texts, and most spaces have no document prompt. If documents have a prompt, the
    texts get the query's (the E5 cards: "use the query prefix for symmetric tasks").
    """
    return "query" if space.document_prompt else "document"


class MtebModel:
    """One retriever at one dim, with the interface of mteb's models; the cell is part of the cache key."""

    def __init__(self, retriever: Retriever, cell: Cell, *, encoder: str) -> None:
        """Describe the model to mteb; ``encoder`` is how the student was opened (one of `students.ENCODERS`)."""
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
        """Return the vectors of every text in the batches of ``inputs``, shape (texts, dim), in order."""
        texts = [text for batch in inputs for text in batch["text"]]
        is_document = prompt_type is PromptType.document
        encoder = self._retriever.document_encoder if is_document else self._retriever.query_encoder
        role = _ROLES[prompt_type] if prompt_type else symmetric_role(encoder.space)
        return truncate(encoder.encode(texts, role), self._dim)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosine of every pair, the score that a leafkit index ranks by."""
        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosine of each row with the row of the same position."""
        return pairwise_cos_sim(embeddings1, embeddings2)


class CellBackend:
    """A search backend for mteb that stores documents as ``cell`` says, instead of mteb's float32 search."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._finder: CellFinder | None = None
        self._count = 0

    def add_documents(self, embeddings: Any, idxs: list[str]) -> None:
        """Store all document vectors; mteb passes them in one call."""
        self._finder = CellFinder(embeddings, self._cell)
        self._count = len(idxs)

    def search(
        self, embeddings: Any, top_k: int, similarity_fn: Any, top_ranked: Any = None, query_idx_to_id: Any = None
    ) -> tuple[list[list[float]], list[list[int]]]:
        """Return scores and row numbers of each query's best documents; raise `OptionError` for reranking tasks."""
        if top_ranked is not None or self._finder is None:
            raise OptionError(
                f"the precision {self._cell.precision} cannot measure this task, because it reranks given documents. "
                "Use float32."
            )
        found = self._finder.nearest(embeddings, min(top_k, self._count))
        return found.scores.tolist(), found.rows.tolist()

    def clear(self) -> None:
        """Delete the stored documents."""
        self._finder = None
