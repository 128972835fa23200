"""Types that both formats of vectors files share: a batch of pairs, the label of the space, an open file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from leafkit.errors import DamageError
from leafkit.files.json_file import parse_json_object
from leafkit.space import Space
from leafkit.texts.record import Text
from leafkit.types import Float32, Role

BATCH = 65536  # rows read at a time
# The columns of a vectors file, and the other name of an id: a column of the texts with such a name is left out.
OWN_COLUMNS = ("_id", "id", "title", "text", "role", "vector")


def kept_payload(text: Text) -> dict[str, Any]:
    """Return the payload of ``text`` without the columns that a vectors file has itself."""
    return {name: value for name, value in text.payload.items() if name not in OWN_COLUMNS}


@dataclass(frozen=True, kw_only=True)
class PairBatch:
    """Consecutive rows of a vectors file: (text, vector) pairs.

    path, first: the file, and the number of the first row in that file.
    texts: the text of each row.
    roles: the role of each row; None means that the row is valid for both roles.
    vectors: shape (rows, dim), float16 or float32.
    """

    path: Path
    first: int
    texts: Sequence[str]
    roles: Sequence[Role | None]
    vectors: NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class SpaceLabel:
    """The space of the vectors in a file. ``approximate`` is true if a student, not the teacher, made the vectors."""

    space: Space
    approximate: bool = False

    def to_json(self) -> str:
        """Return the label as JSON, as vectors files record it; `from_json` reads it back."""
        return json.dumps({**self.space.to_json(), "stand_in": self.approximate}, ensure_ascii=False)

    @classmethod
    def from_json(cls, content: bytes, where: str) -> SpaceLabel:
        """Return the label in the JSON ``content``; raise `DamageError` naming ``where`` if it is invalid."""
        try:
            fields = parse_json_object(content)
        except ValueError as error:
            raise DamageError(f"{where}: the recorded space is not JSON ({error}). Write the file again.") from error
        return cls(space=Space.from_json(fields, where=where), approximate=fields.get("stand_in") is True)


@dataclass(frozen=True, kw_only=True)
class VectorsFile:
    """A vectors file that is open for reading.

    label: the recorded space, or None for a file that leafkit did not write.
    rows: the number of rows.
    batches: all rows in order. Vectors have one width within a file; the files of a folder may differ in width.
    parts: the files that hold texts and vectors.
    """

    label: SpaceLabel | None
    rows: int
    batches: Iterator[PairBatch]
    parts: tuple[Path, ...]


# A function that appends rows to a new vectors file; takes the texts, their roles and their vectors (rows, dim).
WriteRows = Callable[[Sequence[Text], Sequence[Role], Float32], None]
# A function that reads all texts of a new vectors file anew, to find out which columns they have.
ReadTexts = Callable[[], Iterable[Text]]
