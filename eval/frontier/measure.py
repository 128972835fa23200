"""Measure storage formats: nDCG@10 of every query in each format, and the points computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from eval.frontier.formats import BYTES, MEMORY_BYTES, FrontierPoint, StorageFormat
from leafkit.evaluation.bootstrap import interval, ratios, resampled_means
from leafkit.evaluation.collection import Collection
from leafkit.evaluation.grid import Cell, CellFinder
from leafkit.evaluation.metrics import MAIN_METRIC, Float64
from leafkit.evaluation.retrieval import search_scores
from leafkit.files.progress import progress
from leafkit.index.coordinates import Coordinates
from leafkit.space import Space
from leafkit.types import Encoder, Float32


@dataclass(frozen=True)
class FormatScores:
    """nDCG@10 of every query in one format, and 1 for each query whose hundred best are those of full vectors.

    ``values`` and ``same`` are empty if the format keeps more numbers than the vectors have.
    """

    storage: StorageFormat
    dim: int
    values: Float64
    same: Float64


def stored_vectors(
    storage: StorageFormat, documents: Float32, queries: Float32, space: Space, student: Path, *, seed: int = 0
) -> tuple[Float32, Float32] | None:
    """Return documents and queries in the coordinates of ``storage``, truncated to its dim. None if dim is too large.

    ``documents`` are the teacher's vectors and ``queries`` the student's, both of shape (rows, space.dim).
    """
    folding = storage.coordinates.startswith("fold")
    rotate = next((kind for kind in ("pca", "itq") if storage.coordinates.endswith(kind)), None)
    plan = Coordinates(space, [student], folding=folding, dim=None, rotate=rotate, seed=seed)
    if storage.dim is not None and storage.dim >= plan.width:
        return None
    if folding and storage.dim is not None:
        plan = Coordinates(space, [student], folding=True, dim=storage.dim, rotate=rotate, seed=seed)
    maps = plan.fit(documents)
    if maps.documents is not None:
        documents = maps.documents.apply(documents, "document")
    if maps.student_head is not None:
        queries = maps.student_head.apply(queries, "query")
    dim = storage.dim or documents.shape[1]
    return documents[:, :dim], queries[:, :dim]


def measure_formats(
    collection: Collection,
    formats: Sequence[StorageFormat],
    teacher: Encoder,
    student: Encoder,
    student_folder: Path,
    *,
    seed: int,
) -> list[FormatScores]:
    """Measure every format on one collection; the first must be full float32 vectors."""
    documents = teacher.encode(collection.documents, "document")
    queries = student.encode(collection.queries, "query")
    found: list[FormatScores] = []
    full_top: list[set[int]] = []
    with progress(collection.name, total=len(formats), unit="formats") as bar:
        for storage in formats:
            vectors = stored_vectors(storage, documents, queries, teacher.space, student_folder, seed=seed)
            bar.update(1)
            if vectors is None:
                found.append(FormatScores(storage, 0, numpy.empty(0), numpy.empty(0)))
                continue
            finder = CellFinder(vectors[0], Cell(dim=vectors[0].shape[1], precision=storage.precision))
            top = [set(rows) for rows in finder.nearest(vectors[1], min(100, len(documents))).rows.tolist()]
            full_top = full_top or top
            scores = search_scores(collection, vectors[1], finder).values[MAIN_METRIC]
            same = numpy.array([a == b for a, b in zip(top, full_top, strict=True)], dtype=float)
            found.append(FormatScores(storage, vectors[0].shape[1], scores, same))
    return found


def frontier_points(collections: dict[str, list[FormatScores]], *, seed: int) -> list[FrontierPoint]:
    """Return a point for each format, compared with the first format on the same resampled queries.

    Every collection must have the same formats in the same order.
    """
    full = {name: scores[0].values for name, scores in collections.items()}
    points = []
    for place, first in enumerate(next(iter(collections.values()))):
        parts = {name: scores[place] for name, scores in collections.items()}
        samples = [
            resampled_means(numpy.stack([part.values, full[name]]), seed=[seed, number])
            for number, (name, part) in enumerate(parts.items())
        ]
        shares = numpy.mean([ratios(sample[:, 0], sample[:, 1]) for sample in samples], axis=0)
        exact = [part.values.mean() / full[name].mean() for name, part in parts.items()]
        points.append(
            FrontierPoint(
                storage=first.storage,
                dim=first.dim,
                bytes=first.dim * BYTES[first.storage.precision],
                memory_bytes=first.dim * MEMORY_BYTES[first.storage.precision],
                ndcg={name: float(part.values.mean()) for name, part in parts.items()},
                share=float(numpy.mean(exact)),
                share_interval=interval(shares),
                same_100=float(numpy.concatenate([part.same for part in parts.values()]).mean()),
            )
        )
    return points
