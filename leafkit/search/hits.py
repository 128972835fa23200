"""What a search returns: `Hits`, and the same as dictionaries, JSON and a DataFrame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leafkit.extras import import_optional
from leafkit.files.json_file import standard_json
from leafkit.types import Float32

if TYPE_CHECKING:
    import pandas

# The columns that a hit has besides those of its payload.
OWN = ("id", "score", "fused")


@dataclass(frozen=True, slots=True)
class Hits:
    """The documents found for one query, best first: ids, cosines in the teacher's space (hits,), and payloads.

    ``fused`` holds the scores (hits,) that ordered the hits of a hybrid search; None if the cosines ordered them.
    """

    ids: list[str]
    scores: Float32
    payload: list[dict[str, Any]]
    fused: Float32 | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to_dicts(self, *, nested: bool = False) -> list[dict[str, Any]]:
        """Return one dictionary per hit, of plain Python values: ``id``, ``score`` and the columns of the payload.

        A hybrid search adds ``fused``. A payload column with one of these three names becomes ``payload.NAME``.

        nested: leave the payload in one piece, under ``payload``, as ``leafkit serve`` does.
        """
        fused = [{}] * len(self) if self.fused is None else [{"fused": score} for score in self.fused.tolist()]
        payload = [{"payload": one} if nested else _beside(one) for one in self.payload]
        rows = zip(self.ids, self.scores.tolist(), fused, payload, strict=True)
        return [{"id": name, "score": score, **also, **columns} for name, score, also, columns in rows]

    def to_json(self, *, nested: bool = False) -> str:
        """Return the list of `to_dicts` as JSON in ASCII; NaN and infinities, which JSON lacks, become null."""
        return standard_json(self.to_dicts(nested=nested))

    def to_pandas(self) -> pandas.DataFrame:
        """Return a DataFrame with a row per hit and the columns of `to_dicts`; a missing value is NaN or None.

        Raises `MissingExtraError` without pandas.
        """
        found = self.to_dicts()
        names = [*dict.fromkeys([*OWN[: 2 if self.fused is None else 3], *(name for hit in found for name in hit)])]
        library: Any = import_optional("pandas")
        try:
            return library.DataFrame(found, columns=names)
        except UnicodeEncodeError:  # half of a surrogate pair, which the string type of pandas 3 cannot hold
            frame = library.DataFrame(found, columns=names, dtype=object)
            return frame.astype({name: float for name in OWN[1:] if name in names})


def _beside(payload: dict[str, Any]) -> dict[str, Any]:
    """Return ``payload`` with names that a hit has not got itself."""
    return {f"payload.{name}" if name in OWN else name: value for name, value in payload.items()}
