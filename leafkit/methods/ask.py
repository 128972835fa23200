"""How a method asks the teacher about texts: one way for writers, steps and topologies, cached and counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from leafkit.types import Float32, Role


class Ask(Protocol):
    """Answers with the teacher's vectors. The teacher encodes a text once, even over several runs."""

    @property
    def calls(self) -> int:
        """The number of distinct texts, per role, that were asked so far in this run, cached or not."""
        ...

    def encode(self, texts: Sequence[str], roles: Sequence[Role]) -> Float32:
        """Return the teacher's vectors of ``texts``, (texts, dim); ``roles`` are theirs, in the same order."""
        ...

    def vocabulary(self) -> Sequence[str]:
        """Return the tokens of the teacher's tokenizer in the order of their ids; the method must need ``model``."""
        ...
