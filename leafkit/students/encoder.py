"""A finished student as an encoder over torch; the query host uses `leafkit.search.query_encoder`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from leafkit.errors import DamageError
from leafkit.space import Space
from leafkit.students.folder import StudentFacts
from leafkit.types import Float32, Role, check_role

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class StudentEncoder:
    """Encodes with the student itself. It stands in for its teacher: the same space, vectors that come near."""

    signals = frozenset({"embeddings", "online"})
    # Its vectors must never be kept as the teacher's own.
    approximate = True

    def __init__(self, model: SentenceTransformer, space: Space) -> None:
        """Encode into ``space`` with ``model``."""
        self.model = model.eval()
        self.space = space

    @classmethod
    def open(cls, facts: StudentFacts, device: str | None = None) -> StudentEncoder:
        """The student of ``facts`` on ``device``; raises `DamageError` if its files do not load."""
        from sentence_transformers import SentenceTransformer

        from leafkit.students.backbone import quiet

        try:
            with quiet():
                model = SentenceTransformer(str(facts.path), device=device, local_files_only=True)
        except Exception as error:  # the loaders of damaged files raise whatever they like
            raise DamageError(f"the student in {facts.path} cannot be loaded: {error}; distil it again") from error
        if model.get_embedding_dimension() != facts.space.dim:
            raise DamageError(
                f"{facts.path} gives {model.get_embedding_dimension()} numbers a text, but leafkit.json says "
                f"{facts.space.dim}: the folder is a mixture of two students; distil it again"
            )
        return cls(model, facts.space)

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Vectors of ``texts``, shape (rows, dim), float32, in the order given."""
        prompt = self.space.prompt(check_role(role))
        vectors = self.model.encode(list(texts), prompt=prompt or None, convert_to_numpy=True, show_progress_bar=False)
        return vectors.reshape(len(texts), self.space.dim)
