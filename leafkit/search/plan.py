"""Choose the FAISS index of a corpus: by its size and precision, or by the user's factory string."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, get_args

from leafkit.errors import OptionError

Precision = Literal["float32", "float16", "int8", "int4", "binary"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Rescore = Literal["none", "int8", "float16", "float32"]
RESCORES: tuple[Rescore, ...] = get_args(Rescore)

CODECS = {"float32": "Flat", "float16": "SQfp16", "int8": "SQ8", "int4": "SQ4"}

# Exact search of 50,000 x 384 takes 3 ms (float32) or 2 ms (int8) on one Zen 4 core: less than encoding the query.
EXACT_ROWS = 50_000
# 48 bytes per row: 0.7 ms per 200,000 rows of 384 bits.
EXACT_BINARY_ROWS = 1_000_000
# A graph needs 270 bytes per row besides the vectors, and some 300 core-seconds per million rows to build. Inverted
# lists need 8 bytes per row.
GRAPH_ROWS = 1_000_000

# What `leafkit.search.faiss_file` can check, and so what leafkit builds.
SUPPORTED = (
    "Supported are Flat, SQ4, SQ6, SQ8, SQfp16, SQbf16, PQ, PQ...x4fs, RaBitQ and RaBitQfs, alone or after IVF...; "
    "Flat and SQ after HNSW...; PCA, OPQ, ITQ, RR, HR, L2norm and Pad before, RFlat and Refine(SQ...) behind; and "
    "BFlat, BHNSW... and BIVF...."
)

# FAISS crashes on factory strings of some ten thousand characters.
LONGEST_FACTORY = 200

_LISTS_OR_GRAPH = re.compile(r"(.*,)?(IVF\d+(_HNSW\d*|\(.*\))?|HNSW\d*)")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A FAISS factory string. A ``binary`` plan holds sign bits and is made by FAISS's factory of binary indexes."""

    factory: str
    binary: bool


def plan_index(count: int, precision: str, factory: str | None) -> Plan:
    """Plan the index of ``count`` rows: exact while exact search is fast, a graph up to a million rows, else lists.

    A ``factory`` is used unchanged. If it names only a graph or lists (``HNSW32``, ``IVF4096``), the storage of
    ``precision`` is appended. Raises `OptionError` if ``factory`` and ``precision`` contradict each other.
    """
    check_precision(precision)
    if factory is not None:
        return _plan_factory(factory.strip(), precision)
    if precision == "binary":
        return Plan(factory="BFlat" if count <= EXACT_BINARY_ROWS else f"BIVF{_lists(count)}", binary=True)
    codec = CODECS[precision]
    if count <= EXACT_ROWS:
        return Plan(factory=codec, binary=False)
    return Plan(factory=f"{'HNSW32' if count <= GRAPH_ROWS else f'IVF{_lists(count)}'},{codec}", binary=False)


def check_precision(precision: str) -> None:
    """Raise `OptionError` unless ``precision`` is a precision of document vectors."""
    if precision not in PRECISIONS:
        raise OptionError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}.")


def check_rescore(rescore: str | None) -> None:
    """Raise `OptionError` unless ``rescore`` is None (the default of the index) or a precision of rescoring vectors."""
    if rescore is not None and rescore not in RESCORES:
        raise OptionError(f"rescore is {rescore!r}; expected one of {', '.join(RESCORES)}.")


def _plan_factory(factory: str, precision: str) -> Plan:
    if len(factory) > LONGEST_FACTORY:
        raise OptionError(f"factory has {len(factory)} characters; expected at most {LONGEST_FACTORY}.")
    if "_direct" in factory:
        raise OptionError(
            f"factory is {factory!r}, but _direct codecs store numbers from 0 to 255, not unit vectors. Use SQ8."
        )
    if "IDMap" in factory:
        raise OptionError(f"factory is {factory!r}, but leafkit numbers the rows itself. Remove IDMap.")
    binary = re.match(r"B(Flat|HNSW|IVF|Hash)", factory) is not None
    if binary != (precision == "binary"):
        advice = "a binary factory (BFlat, BHNSW32, BIVF1024)" if precision == "binary" else "--precision binary"
        raise OptionError(f"factory {factory!r} contradicts precision {precision}. Use {advice}.")
    if binary:
        return Plan(factory=factory, binary=True)
    if _LISTS_OR_GRAPH.fullmatch(factory):
        return Plan(factory=f"{factory},{CODECS[precision]}", binary=False)
    storage = re.split(r"[,_]", factory)[-1]
    if precision != "float32" and storage != CODECS[precision]:
        raise OptionError(
            f"factory {factory!r} stores vectors as {storage}, which contradicts precision {precision}. "
            "Remove --precision, or name only the graph or the lists (HNSW32, IVF4096)."
        )
    return Plan(factory=factory, binary=False)


def _lists(count: int) -> int:
    """Return a power of two near four square roots of ``count``: the middle of the range that FAISS recommends."""
    return 2 ** round(math.log2(4 * math.sqrt(count)))
