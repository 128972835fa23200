"""Teacher's and student's queries on one index of the teacher's documents, of several collections together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from eval.effort.curve import GRAPH, HITS, Curve, curves, lists_for
from eval.effort.need import needs
from leafkit.command import command
from leafkit.errors import OptionError
from leafkit.evaluation.bootstrap import RESAMPLES
from leafkit.evaluation.collection import Collection, read_collection
from leafkit.evaluation.provenance import commit, packages
from leafkit.evaluation.students import open_students
from leafkit.space import require_same
from leafkit.teachers.open import open_teacher
from leafkit.types import Encoder, Float32, Role
from leafkit.vectors.cached import cached, keeps_its_space
from leafkit.vectors.cosine import unit_prefix
from leafkit.vectors.mapping import mapped
from leafkit.version import __version__

LEAST_DOCUMENTS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """What is measured: options of the command, which explains them."""

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


def measure(asked: Asked) -> dict[str, Any]:
    """Every curve, what the targets need on it, and where the figures come from, ready for JSON.

    Raises `OptionError` for too few documents or a student as teacher, `SpaceError` for a student of another space.
    """
    collections = [read_collection(folder, asked.split, documents=asked.documents) for folder in asked.data]
    total = sum(len(one.documents) for one in collections)
    if total < LEAST_DOCUMENTS:
        raise OptionError(f"got {total} documents, wanted {LEAST_DOCUMENTS} or more to search approximately")
    teacher = open_teacher(asked.teacher, query_prompt=asked.query_prompt)
    if not keeps_its_space(teacher):
        raise OptionError(f"{asked.teacher} is a student; name the teacher it was distilled from")
    (student,) = open_students(asked.student, asked.encoder, None)
    space = teacher.space
    encoder = mapped(cached(teacher, asked.cache) if "online" in teacher.signals else teacher, student.mapping)
    require_same(encoder.space, student.encoder.space, wanted_by="the teacher", got_from=f"the student {student.name}")
    chosen = [_draw(one, asked.queries, asked.seed) for one in collections]
    texts = [text for one in chosen for text in one]
    documents = [text for one in collections for text in one.documents]
    sides = {
        "teacher": _units(encoder, texts, "query"),
        "student": _units(student.encoder, texts, "query"),
    }
    return {
        "indexes": [
            described(curves(vectors, sides, factory, builds=asked.builds, seed=asked.seed), seed=asked.seed)
            for vectors in [_units(encoder, documents, "document")]
            for factory in (GRAPH, lists_for(total))
        ],
        "hits": HITS,
        "documents": total,
        "queries": len(texts),
        "builds": asked.builds,
        "encoder": asked.encoder,
        "data": [
            {"name": one.name, "sha256": one.sha256, "documents": len(one.documents), "queries": len(drawn)}
            for one, drawn in zip(collections, chosen, strict=True)
        ],
        "teacher": space.to_json(),
        "student": {"name": student.name, "sha256": student.sha256},
        "command": command(),
        "leafkit": __version__,
        "commit": commit(),
        "seed": asked.seed,
        "resamples": RESAMPLES,
        "packages": packages(),
    }


def described(both: dict[str, Curve], *, seed: int) -> dict[str, Any]:
    """One index: its curves, and what the targets need."""
    teacher, student = both["teacher"], both["student"]
    return {
        "index": teacher.factory,
        "depth": "lists visited" if teacher.factory.startswith("IVF") else "nodes kept open",
        "needs": [dataclasses.asdict(need) for need in needs(teacher, student, seed=seed)],
        "curves": [
            {
                "queries": name,
                "depth": list(curve.depths),
                "recall": curve.means.round(5).tolist(),
                "distances": curve.distances.round(6).tolist(),
            }
            for name, curve in both.items()
        ],
    }


def _draw(collection: Collection, most: int, seed: int) -> list[str]:
    """At most so many queries, so that no collection outweighs the others by its size alone."""
    order = numpy.random.default_rng(seed).permutation(len(collection.queries))[:most]
    return [collection.queries[row] for row in numpy.sort(order)]


def _units(encoder: Encoder, texts: Sequence[str], role: Role) -> Float32:
    vectors = encoder.encode(texts, role)
    return unit_prefix(vectors, vectors.shape[1], source=f"the {role} vectors")
