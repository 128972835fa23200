"""The formats in which documents can be stored, and a point of the frontier: what a format costs and keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from leafkit.errors import OptionError
from leafkit.evaluation.bootstrap import Interval

PRECISIONS = ("float32", "int8", "int4+none", "binary")
# Bytes per number of a document. binary includes the int8 vectors on disk that rescore its hits.
BYTES = {"float32": 4.0, "int8": 1.0, "int4+none": 1 / 2, "binary": 1 / 8 + 1.0, "binary+none": 1 / 8}
MEMORY_BYTES = {**BYTES, "binary": 1 / 8}


@dataclass(frozen=True, kw_only=True)
class StorageFormat:
    """How a document is stored: in which coordinates, how many numbers of them, and in which precision.

    ``coordinates`` are teacher (those of the teacher), pca or itq (`leafkit.vectors.rotation`), fold
    (`leafkit.index.fold`, for one student) or fold+itq, whose signs are balanced. ``dim`` None keeps all numbers.
    """

    coordinates: str
    dim: int | None
    precision: str


@dataclass(frozen=True, kw_only=True)
class FrontierPoint:
    """What a storage format costs and keeps.

    ``share`` is its nDCG@10 over that of full float32 vectors, mean over collections. ``same_100`` is the share of
    queries whose hundred best documents are those of full vectors.
    """

    storage: StorageFormat
    dim: int
    bytes: float
    memory_bytes: float
    ndcg: dict[str, float]
    share: float
    share_interval: Interval | None
    same_100: float

    def to_json(self) -> dict[str, Any]:
        """Return the point for a result file, which calls the format ``way``."""
        fields = dataclasses.asdict(self)
        return {"way": fields.pop("storage"), **fields}


def storage_formats(dims: Sequence[int], precisions: Sequence[str] = PRECISIONS) -> Iterator[StorageFormat]:
    """Yield every format to measure, full float32 vectors first. Raise `OptionError` for an unknown precision.

    itq is meant for sign bits. A prefix of itq coordinates has no meaning, so itq keeps all numbers.
    """
    for precision in precisions:
        if precision not in BYTES:
            raise OptionError(f"precision is {precision!r}; expected one of {', '.join(BYTES)}.")
    if "float32" not in precisions:
        yield StorageFormat(coordinates="teacher", dim=None, precision="float32")
    for precision in sorted(precisions, key=lambda one: one != "float32"):
        signs = precision.startswith("binary")
        for coordinates in ("teacher", "pca", "fold", *(["itq", "fold+itq"] if signs else [])):
            for dim in (None,) if coordinates == "itq" else (None, *dims):
                yield StorageFormat(coordinates=coordinates, dim=dim, precision=precision)
