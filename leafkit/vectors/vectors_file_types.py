"""The types that both formats of vectors files share: batches of pairs, the label of their space, an open file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from leafkit.errors import DamageError
from leafkit.space import Space
from leafkit.types import Float32, Role

BATCH = 65536  # rows read at a time


@dataclass(frozen=True, kw_only=True)
class PairBatch:
    """Some rows of a vectors file, from the row ``first`` of ``path`` on; a row without a role serves both."""

    path: Path
    first: int
    texts: Sequence[str]
    roles: Sequence[Role | None]
    vectors: NDArray[Any]  # (rows, dim), float16 or float32


@dataclass(frozen=True, kw_only=True)
class SpaceLabel:
    """The space that the vectors of a file live in; ``approximate`` where a student made them."""

    space: Space
    approximate: bool = False

    def to_json(self) -> str:
        """The label as the file carries it; `from_json` reads it back."""
        return json.dumps({**self.space.to_json(), "stand_in": self.approximate}, ensure_ascii=False)

    @classmethod
    def from_json(cls, content: bytes, where: str) -> SpaceLabel:
        """The label in ``content``; raises `DamageError` naming ``where`` if it is none."""
        try:
            fields = json.loads(content)
        except ValueError as error:
            raise DamageError(f"{where}: its space is not JSON ({error}); write the file again") from error
        if not isinstance(fields, dict):
            raise DamageError(f"{where}: its space is not an object; write the file again")
        return cls(space=Space.from_json(fields, where=where), approximate=fields.get("stand_in") is True)


@dataclass(frozen=True, kw_only=True)
class VectorsFile:
    """A vectors file that is open for reading, ``rows`` rows in batches; ``parts`` holds its content.

    Each file has one width; those of a folder may differ.
    """

    label: SpaceLabel | None
    rows: int
    batches: Iterator[PairBatch]
    parts: tuple[Path, ...]


# Takes ids, texts, roles and vectors of some rows.
WriteRows = Callable[[Sequence[str], Sequence[str], Sequence[Role], Float32], None]
