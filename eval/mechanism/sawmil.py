"""sAwMIL: what token states say of true, false and neither, and how much of it a student keeps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import torch

from eval.mechanism.lab import BGE, Lab
from eval.mechanism.statements import Statements, wordnet_statements
from leafkit.files.atomic import atomic_file
from leafkit.methods.batch import TokenStates
from leafkit.methods.probes.sawmil import Float64, Sawmil, linear_svm, thirds
from leafkit.onnx.restore import restore
from leafkit.teachers.open import open_teacher
from leafkit.types import Float32, Int64
from leafkit.vectors.store import default_cache

CLAIM = (
    "A multiple-instance probe of the last tokens says more of true, false and neither than a probe of the last one."
)
PREMISE = (
    "Definitions of WordNet: a word with its own, a word with that of another, an invented word with one. States of "
    "bge-small after eight of its twelve layers."
)
CONTROL = "The best of three linear SVMs on the last token alone, with the same calibration."
FIGURE = (
    "Matthews' correlation of answered statements times their share, of 180 held-out ones; the last five arms read the "
    "last layers of bge-small and of the shipped student of three layers, all tokens of a statement"
)
ARMS = (
    "sawmil",
    "last token",
    "mean token",
    "mean difference",
    "sawmil, all tokens",
    "coverage, sawmil",
    "accepted, sawmil",
    "teacher",
    "student",
    "kept by the student",
    "teacher's probe, student's states",
    "cosine of directions",
)
POOL, DRAWN, LENGTH, CHUNK = 900, 720, 20, 64
STUDENT = Path("models/bge-small-leaf-3-layers")
# Layers are counted from 1. The rivals have one of three costs, the best on the held-out statements themselves.
MIDDLE, LAST, OF_STUDENT = 8, 12, 3
COSTS = (0.05, 0.005, 0.0005)

Fit = Callable[[Float64, Any], tuple[Float64, float]]


def measure(_lab: Lab, seed: int) -> dict[str, float]:
    """Return the figures of all probes for the statements that ``seed`` draws."""
    statements = wordnet_statements(POOL)
    rows = numpy.random.default_rng([seed, 61]).permutation(POOL)[:DRAWN]
    middle, last = read_states(statements, BGE, MIDDLE), read_states(statements, BGE, LAST)
    student = read_states(statements, str(STUDENT), OF_STUDENT)
    labels, probe, whole = statements.labels[rows], Sawmil(), Sawmil(last=0)
    found = probe.observe(look(middle[rows], middle[rows], labels))
    figures = {
        "sawmil": found["teacher_weighted"],
        "coverage, sawmil": found["teacher_coverage"],
        "accepted, sawmil": found["teacher_accepted"],
        "sawmil, all tokens": whole.observe(look(middle[rows], middle[rows], labels))["teacher_weighted"],
    }
    bags = [bag[words(bag)].astype(numpy.float64) for bag in middle[rows]]
    ends, means = (
        numpy.array([pooled(bag) for bag in bags]) for pooled in (lambda bag: bag[-1], lambda bag: bag.mean(0))
    )
    svms: list[Fit] = [svm_of(cost) for cost in COSTS]
    figures["last token"] = max(rival(ends, labels, fit) for fit in svms)
    figures["mean token"] = max(rival(means, labels, fit) for fit in svms)
    figures["mean difference"] = rival(means, labels, mean_difference)
    both = whole.observe(look(last[rows], student[rows], labels))
    return figures | {
        "teacher": both["teacher_weighted"],
        "student": both["student_weighted"],
        "kept by the student": both["kept"],
        "teacher's probe, student's states": both["mapped"],
        "cosine of directions": both["cosine"],
    }


def look(teacher: Float32, student: Float32, labels: Int64) -> Any:
    """Return what the probe sees of statements whose token states, (texts, length, width), are 0 for padding."""

    def tokens(rows: Int64) -> TokenStates:
        ours, theirs = (torch.from_numpy(states[rows]) for states in (student, teacher))
        return TokenStates(student=ours, teacher=theirs, mask=torch.from_numpy(words(teacher[rows])))

    return SimpleNamespace(labels=labels, tokens=tokens)


def words(states: Float32) -> Any:
    """Return which of the token ``states``, (..., length, width), are no padding."""
    return (states != 0).any(axis=-1)


def rival(points: Float64, labels: Int64, fit: Fit) -> float:
    """Return the figure of one direction for each class in ``points`` (texts, width), found by ``fit``."""
    parts = thirds(len(points))
    train = parts[0]
    standard = (points - points[train].mean(axis=0)) / numpy.maximum(points[train].std(axis=0), 1e-6)
    pairs = [fit(standard[train], labels[train] == one) for one in numpy.unique(labels)]
    scores = numpy.stack([standard @ direction + bias for direction, bias in pairs], axis=1)
    return Sawmil().measure(scores, labels, *parts)["weighted"]


def svm_of(cost: float) -> Fit:
    """Return a function that fits a plain linear SVM."""
    return lambda points, positive: linear_svm(points, numpy.where(positive, 1.0, -1.0), numpy.full(len(points), cost))


def mean_difference(points: Float64, positive: Any) -> tuple[Float64, float]:
    """Return the difference of the means of a class and of the others as direction."""
    return points[positive].mean(axis=0) - points[~positive].mean(axis=0), 0.0


def read_states(statements: Statements, model: str, layer: int) -> Float32:
    """Return the states of the words of all statements after ``layer`` layers, (texts, `LENGTH`, width), cached."""
    folder = default_cache() / "mechanism"
    path = folder / f"statements-{statements.identity}-{Path(model).name}-layer{layer}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, wait=True) as file:
            numpy.save(file, computed(statements, model, layer).astype(numpy.float16))
    return numpy.load(path).astype(numpy.float32)


@torch.inference_mode()
def computed(statements: Statements, model: str, layer: int) -> Float32:
    """Return the states of the words of all statements after ``layer`` layers, 0 for padding."""
    teacher: Any = restore(Path(model)) if Path(model) == STUDENT else open_teacher(model)
    tokenizer, transformer = teacher.model.tokenizer, copy.deepcopy(teacher.model[0].auto_model).float().eval()
    states = numpy.zeros((len(statements.texts), LENGTH, transformer.config.hidden_size), dtype=numpy.float32)
    for start in range(0, len(states), CHUNK):
        chosen = list(statements.texts[start : start + CHUNK])
        batch = tokenizer(chosen, padding=True, truncation=True, max_length=LENGTH + 2, return_tensors="pt")
        of_layer = transformer(**batch, output_hidden_states=True).hidden_states[layer].numpy()
        for place, mask in enumerate(batch["attention_mask"].bool().numpy()):
            # The first and the last token are special.
            kept = of_layer[place][mask][1:-1]
            states[start + place, : len(kept)] = kept
    return states
