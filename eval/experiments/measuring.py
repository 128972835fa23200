"""What is measured of a student: its cosine to the teacher on held-out texts, and nDCG@10 on BEIR folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from leafkit.evaluation.collection import Collection
from leafkit.evaluation.grid import full_cell
from leafkit.evaluation.metrics import MAIN_METRIC
from leafkit.evaluation.modes import make_retrievers
from leafkit.evaluation.retrieval import RetrievalPlan, measure_collection
from leafkit.evaluation.students import OpenStudent
from leafkit.texts.read import read_texts
from leafkit.types import ROLES, Encoder, Role
from leafkit.vectors.cosine import row_cosines

MEAN = "mean"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The collections and modes of a table."""

    collections: Sequence[Collection]
    modes: Sequence[str]

    @property
    def identity(self) -> list[str]:
        """What changes when a figure could."""
        return [*self.modes, *(collection.sha256 for collection in self.collections)]


def figures(encoder: Encoder, teacher: Encoder, valid: Path, bench: Bench) -> dict[str, float]:
    """Every figure of one student by name: ``cosine``, ``cosine query``, ``nDCG@10 asymmetric scifact``, ….

    A student of a space of its own has no cosine, and is measured in the standard mode alone.
    """
    at_home = encoder.space.id == teacher.space.id
    found = _cosines(encoder, teacher, valid) if at_home else {}
    for mode in bench.modes if at_home else ["standard"]:
        scores = {collection.name: _ndcg(encoder, teacher, collection, mode) for collection in bench.collections}
        if scores:
            scores[MEAN] = sum(scores.values()) / len(scores)
        found |= {figure(mode, name): score for name, score in scores.items()}
    return found


def figure(mode: str, collection: str = MEAN) -> str:
    """The name of the figure of ``mode`` on ``collection``, or on all."""
    return f"nDCG@10 {mode} {collection}"


def _cosines(encoder: Encoder, teacher: Encoder, valid: Path) -> dict[str, float]:
    texts: dict[Role, list[str]] = {role: [] for role in ROLES}
    for text in read_texts(valid):
        texts[text.role or "document"].append(text.full_text)
    asked = [role for role in ROLES if texts[role]]
    each = {role: row_cosines(encoder.encode(texts[role], role), teacher.encode(texts[role], role)) for role in asked}
    every = numpy.concatenate(list(each.values()))
    return {"cosine": float(every.mean())} | {f"cosine {role}": float(of_role.mean()) for role, of_role in each.items()}


def _ndcg(encoder: Encoder, teacher: Encoder, collection: Collection, mode: str) -> float:
    cell = full_cell(encoder.space)
    plan = RetrievalPlan(
        retrievers=make_retrievers([mode], teacher, [OpenStudent("student", encoder, "")]),
        cells=[cell],
        full_cell=cell,
        teacher_is_optional=False,
        bm25=False,
        cross_check=False,
        seed=0,
    )
    (row,) = measure_collection(collection, plan).rows
    return row.metrics[MAIN_METRIC]
