"""Filling an index: what training sees, what the recorded loss says, and which rescoring vectors are chosen."""

from __future__ import annotations

import numpy
import pytest

from leafkit.index import fill
from leafkit.index.fill import cosine_losses, fill_index
from leafkit.search.plan import plan_index
from leafkit.vectors.cosine import unit_rows

WIDTH = 64


def draw(rows: int, seed: int = 0) -> numpy.ndarray:
    """Unit vectors in twenty clusters."""
    random = numpy.random.default_rng(seed)
    centres = numpy.random.default_rng(99).standard_normal((20, WIDTH))
    return unit_rows(
        (centres[random.integers(20, size=rows)] + random.standard_normal((rows, WIDTH))).astype("float32")
    )


@pytest.mark.parametrize("factory", ["SQ8", "IVF4,SQ8"])
def test_training_and_the_recorded_loss_come_from_rows_all_over_the_corpus(
    factory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The corpus is sorted, so its first rows differ from the rest: codes trained on them lose 100 times as much."""
    monkeypatch.setattr(fill, "TRAINING_ROWS", 300)
    monkeypatch.setattr(fill, "LOSS_ROWS", 300)
    vectors = draw(3_000)
    vectors = vectors[numpy.argsort(vectors[:, 0])]
    filled = fill_index(vectors, plan_index(len(vectors), "float32", factory), rescore="none")
    losses = cosine_losses(filled.index.vectors(numpy.arange(len(vectors))), vectors)
    assert numpy.median(losses) < 1e-4
    assert filled.loss == pytest.approx(numpy.median(losses), rel=0.1)


def test_int8_ranges_leave_room_for_documents_added_later() -> None:
    """Without the margin 14 % of these documents are clipped to the ranges of the first 500."""
    filled = fill_index(draw(500), plan_index(500, "int8", None), rescore="none")
    added = draw(2_000, seed=5)
    filled.index.add(added)
    losses = cosine_losses(filled.index.vectors(numpy.arange(500, 2_500)), added)
    assert (losses > 4 * filled.loss + 1e-4).mean() < 0.02


@pytest.mark.parametrize(
    ("precision", "factory", "rescore"),
    [
        ("float32", None, "none"),
        ("float16", None, "none"),
        ("int8", None, "none"),
        ("int4", None, "float16"),
        ("float32", "SQ6", "float16"),
        ("float32", "PQ16x4", "float16"),
        ("binary", None, "int8"),
    ],
)
def test_storage_that_loses_more_than_2e_4_of_cosine_gets_rescoring_vectors_by_default(
    precision: str, factory: str | None, rescore: str
) -> None:
    filled = fill_index(draw(1_000), plan_index(1_000, precision, factory), rescore=None)
    assert filled.rescore == rescore
    assert (filled.loss < 2e-4) == (rescore == "none")


def test_advance_is_told_the_number_of_rows_of_each_block() -> None:
    told: list[int] = []
    fill_index(draw(20_000), plan_index(20_000, "float32", None), rescore="none", advance=told.append)
    assert told == [16_384, 3_616]
