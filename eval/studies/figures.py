"""The figures of a student: its cosine to the teacher on held-out texts, and nDCG@10 on BEIR folders."""

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
from leafkit.types import ROLES, Encoder, Float32, Role
from leafkit.vectors.cosine import row_cosines

MEAN = "mean"


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The collections and modes that every student of a study is measured on."""

    collections: Sequence[Collection]
    modes: Sequence[str]

    @property
    def identity(self) -> list[str]:
        """The modes and the hashes of the data, which change when a figure can change."""
        return [*self.modes, *(collection.sha256 for collection in self.collections)]


def measure_student(encoder: Encoder, teacher: Encoder, valid: Path, benchmark: Benchmark) -> dict[str, float]:
    """Return every figure of a student by name: ``cosine``, ``cosine query``, ``nDCG@10 asymmetric scifact``, ….

    If the teacher has a prompt, ``cosine other role`` is that of the same held-out texts, queries read as documents and
    documents as queries: it shows whether the student tells the roles apart by the prompt or by the look of the texts.
    A student with a space of its own has no cosines and is measured in the standard mode only.
    """
    shares_space = encoder.space.id == teacher.space.id
    figures = _cosines(encoder, teacher, valid) if shares_space else {}
    for mode in benchmark.modes if shares_space else ["standard"]:
        scores = {collection.name: _ndcg(encoder, teacher, collection, mode) for collection in benchmark.collections}
        if scores:
            scores[MEAN] = sum(scores.values()) / len(scores)
        figures |= {figure_name(mode, name): score for name, score in scores.items()}
    return figures


def figure_name(mode: str, collection: str = MEAN) -> str:
    """Return the name of the nDCG@10 of ``mode`` on ``collection``, or of the mean over collections."""
    return f"nDCG@10 {mode} {collection}"


def _cosines(encoder: Encoder, teacher: Encoder, valid: Path) -> dict[str, float]:
    texts: dict[Role, list[str]] = {role: [] for role in ROLES}
    for text in read_texts(valid):
        texts[text.role or "document"].append(text.full_text)
    by_role = {role: _role_cosines(encoder, teacher, contents, role) for role, contents in texts.items() if contents}
    every = numpy.concatenate(list(by_role.values()))
    means = {f"cosine {role}": float(cosines.mean()) for role, cosines in by_role.items()}
    if teacher.space.query_prompt != teacher.space.document_prompt:
        other = [_role_cosines(encoder, teacher, texts[one], two) for one, two in zip(ROLES, ROLES[::-1], strict=True)]
        means["cosine other role"] = float(numpy.concatenate(other).mean())
    return {"cosine": float(every.mean())} | means


def _role_cosines(encoder: Encoder, teacher: Encoder, texts: Sequence[str], role: Role) -> Float32:
    """Return the cosines of student and teacher for ``texts`` read in ``role``, (texts,)."""
    return row_cosines(encoder.encode(texts, role), teacher.encode(texts, role))


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
