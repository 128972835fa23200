"""The choice of a FAISS index by the size of a corpus, its precision and the user's factory."""

from __future__ import annotations

import pytest

from leafkit.errors import OptionError
from leafkit.search.faiss_index import FaissIndex
from leafkit.search.plan import PRECISIONS, Plan, plan_index


@pytest.mark.parametrize(
    ("count", "precision", "factory"),
    [
        (0, "float32", "Flat"),
        (50_000, "float32", "Flat"),
        (50_000, "float16", "SQfp16"),
        (50_000, "int8", "SQ8"),
        (50_001, "float32", "HNSW32,Flat"),
        (1_000_000, "int8", "HNSW32,SQ8"),
        (1_000_001, "float32", "IVF4096,Flat"),
        (4_000_000, "float16", "IVF8192,SQfp16"),
        (1_000_000, "binary", "BFlat"),
        (1_000_001, "binary", "BIVF4096"),
    ],
)
def test_small_corpora_are_searched_exactly_larger_ones_by_graph_then_by_lists(
    count: int, precision: str, factory: str
) -> None:
    assert plan_index(count, precision, None) == Plan(factory=factory, binary=precision == "binary")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_faiss_accepts_every_planned_factory(precision: str) -> None:
    for count in (0, 100_000, 2_000_000, 100_000_000):
        FaissIndex.empty(plan_index(count, precision, None), 100)


@pytest.mark.parametrize(
    ("factory", "precision", "completed"),
    [
        ("HNSW32", "float32", "HNSW32,Flat"),
        ("HNSW16", "int8", "HNSW16,SQ8"),
        ("IVF64", "float16", "IVF64,SQfp16"),
        ("IVF64_HNSW32", "int8", "IVF64_HNSW32,SQ8"),
        ("PCA32,IVF64", "int8", "PCA32,IVF64,SQ8"),
        ("IVF64,SQ8", "int8", "IVF64,SQ8"),
        ("IVF64,SQ8", "float32", "IVF64,SQ8"),
        ("IVF64,PQ16x4fs,RFlat", "float32", "IVF64,PQ16x4fs,RFlat"),
        (" Flat ", "float32", "Flat"),
    ],
)
def test_a_factory_without_storage_gets_that_of_the_precision(factory: str, precision: str, completed: str) -> None:
    plan = plan_index(1000, precision, factory)
    assert plan == Plan(factory=completed, binary=False)
    FaissIndex.empty(plan, 64)


@pytest.mark.parametrize("factory", ["PQ16", "IVF64,Flat", "HNSW32,SQ8", "IVF64,PQ16,Refine(SQ8)", "Flat"])
def test_a_factory_that_contradicts_the_precision_raises_an_error(factory: str) -> None:
    with pytest.raises(OptionError, match="contradicts precision float16"):
        plan_index(1000, "float16", factory)
