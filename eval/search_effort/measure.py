"""Measure the teacher's and the student's queries on one index of the teacher's documents of all collections."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from eval.search_effort.curve import GRAPH, HITS, Curve, curves, lists_for
from eval.search_effort.required_depth import required_depths
from leafkit.command import command_line
from leafkit.errors import OptionError
from leafkit.evaluation.bootstrap import RESAMPLES
from leafkit.evaluation.collection import Collection, read_collection
from leafkit.evaluation.provenance import commit, packages
from leafkit.evaluation.students import OpenStudent, open_students
from leafkit.space import Space, require_same
from leafkit.teachers.open import open_teacher
from leafkit.types import Encoder, Float32, Role
from leafkit.vectors.cached import cached
from leafkit.vectors.cosine import unit_prefix
from leafkit.vectors.mapping import map_teacher
from leafkit.vectors.store import is_exact
from leafkit.version import __version__

LEAST_DOCUMENTS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class EffortOptions:
    """The options of a measurement; the command explains them."""

    data: Sequence[Path]
    teacher: str
    student: Path
    split: str = "test"
    encoder: str = "onnx-int8"
    documents: int | None = None
    queries: int = 1000
    builds: int = 3
    seed: int = 0
    cache: Path | None = None
    query_prompt: str | None = None


def measure(options: EffortOptions) -> dict[str, Any]:
    """Return every curve, the depths that the targets require, and the origin of the figures, ready for JSON.

    Raises `OptionError` for too few documents or a student as teacher, and `SpaceError` for a student of another
    space.
    """
    collections = [read_collection(folder, options.split, documents=options.documents) for folder in options.data]
    total = sum(len(one.documents) for one in collections)
    if total < LEAST_DOCUMENTS:
        raise OptionError(f"got {total} documents; expected at least {LEAST_DOCUMENTS} for an approximate search.")
    (student,) = open_students(options.student, options.encoder, None)
    space, teacher = _open_teacher(options, student)
    queries = [_draw(one, options.queries, options.seed) for one in collections]
    texts = [text for drawn in queries for text in drawn]
    sides = {
        "teacher": _unit_vectors(teacher, texts, "query"),
        "student": _unit_vectors(student.encoder, texts, "query"),
    }
    documents = _unit_vectors(teacher, [text for one in collections for text in one.documents], "document")
    indexes = [
        curves(documents, sides, factory, builds=options.builds, seed=options.seed)
        for factory in (GRAPH, lists_for(total))
    ]
    return {
        "indexes": [describe_index(index, seed=options.seed) for index in indexes],
        "hits": HITS,
        "documents": total,
        "queries": len(texts),
        "builds": options.builds,
        "encoder": options.encoder,
        "data": [
            {"name": one.name, "sha256": one.sha256, "documents": len(one.documents), "queries": len(drawn)}
            for one, drawn in zip(collections, queries, strict=True)
        ],
        "teacher": space.to_json(),
        "student": {"name": student.name, "sha256": student.sha256},
        "command": command_line(),
        "leafkit": __version__,
        "commit": commit(),
        "seed": options.seed,
        "resamples": RESAMPLES,
        "packages": packages(),
    }


def _open_teacher(options: EffortOptions, student: OpenStudent) -> tuple[Space, Encoder]:
    """Return the teacher's own space, and the teacher behind its vector store in the space of ``student``."""
    teacher = open_teacher(options.teacher, query_prompt=options.query_prompt)
    if not is_exact(teacher):
        raise OptionError(f"{options.teacher} is a student. Give the teacher that it was distilled from.")
    stored = cached(teacher, options.cache) if "online" in teacher.signals else teacher
    encoder = map_teacher(stored, student.mapping)
    require_same(
        encoder.space, student.encoder.space, expected_by="the teacher", got_from=f"the student {student.name}"
    )
    return teacher.space, encoder


def describe_index(curves_by_side: dict[str, Curve], *, seed: int) -> dict[str, Any]:
    """Return one index as JSON: its curves, and the depths that the targets require."""
    teacher, student = curves_by_side["teacher"], curves_by_side["student"]
    return {
        "index": teacher.factory,
        "depth": "lists visited" if teacher.factory.startswith("IVF") else "nodes kept open",
        "needs": [dataclasses.asdict(depth) for depth in required_depths(teacher, student, seed=seed)],
        "curves": [
            {
                "queries": name,
                "depth": list(curve.depths),
                "recall": curve.means.round(5).tolist(),
                "distances": curve.distances.round(6).tolist(),
            }
            for name, curve in curves_by_side.items()
        ],
    }


def _draw(collection: Collection, most: int, seed: int) -> list[str]:
    """Draw at most ``most`` queries, so that a large collection does not outweigh the others."""
    order = numpy.random.default_rng(seed).permutation(len(collection.queries))[:most]
    return [collection.queries[row] for row in numpy.sort(order)]


def _unit_vectors(encoder: Encoder, texts: Sequence[str], role: Role) -> Float32:
    vectors = encoder.encode(texts, role)
    return unit_prefix(vectors, vectors.shape[1], source=f"the {role} vectors")
