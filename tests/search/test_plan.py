"""Which index a corpus gets."""

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
def test_search_is_exact_while_that_is_fast_then_a_graph_then_lists(count: int, precision: str, factory: str) -> None:
    assert plan_index(count, precision, None) == Plan(factory=factory, binary=precision == "binary")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_faiss_takes_every_planned_index(precision: str) -> None:
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
def test_precision_completes_a_factory_that_names_no_storage(factory: str, precision: str, completed: str) -> None:
    plan = plan_index(1000, precision, factory)
    assert plan == Plan(factory=completed, binary=False)
    FaissIndex.empty(plan, 64)


@pytest.mark.parametrize("factory", ["PQ16", "IVF64,Flat", "HNSW32,SQ8", "IVF64,PQ16,Refine(SQ8)", "Flat"])
def test_a_factory_that_contradicts_the_precision_is_refused(factory: str) -> None:
    with pytest.raises(OptionError, match="contradicts precision float16"):
        plan_index(1000, "float16", factory)
