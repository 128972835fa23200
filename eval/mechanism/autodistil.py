"""AutoDistil: a student picked from a shared network against one of a size chosen by hand, for as many steps."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy
import torch

from eval.mechanism.figures import cosine
from eval.mechanism.lab import Lab
from eval.mechanism.texts import LabTexts
from leafkit.methods.architectures.autodistil import (
    Autodistil,
    SuperNet,
    TeacherTexts,
    held_out_cosine,
    layer_parameters,
    shared_config,
    subnets,
)
from leafkit.methods.architectures.diswot import Shape
from leafkit.students.student import Body
from leafkit.teachers.open import open_teacher

CLAIM = (
    "A subnet picked from a shared network and trained further beats a student sized by hand, at as many steps in all."
)
PREMISE = (
    "Budget: 250,000 parameters in the layers. 25 steps of four subnets of 256, then 50 steps of the picked; slices "
    "of the teacher's weights as start, with a frozen table."
)
CONTROL = (
    "Two layers of width 96 with 4 heads and a factor of 4 (223,000 parameters), for 150 steps from the same start."
)
FIGURE = "mean cosine on 500 held-out queries of Banking77; arms with rank give Spearman's correlation for six subnets"
ARMS = (
    "autodistil",
    "hand-sized",
    "picked shape alone",
    "picked, before the last steps",
    "rank, cosine before the last steps",
    "rank, parameters",
)
BUDGET, SEARCH = 250_000, Autodistil(steps=25)
HAND = Shape(layers=2, hidden=96, heads=4, feed_forward=4)
LAST_STEPS, ALL_STEPS, RANKED, RANK_STEPS, COMPARED = 50, 150, 6, 15, 24


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the cosine of each student, and the correlations."""
    from scipy.stats import spearmanr

    train, held_out = lab.texts("banking77", seed=seed)
    teacher: Any = open_teacher(lab.teacher)
    body, shared = Body.of(teacher.model), shared_config(teacher.model)
    data = TeacherTexts(
        texts=train.texts,
        targets=torch.from_numpy(train.vectors),
        tokenizer=body.tokenizer,
        model=body.transformer.float().eval(),
    )
    shapes = subnets("mini")
    start = network(shared, shapes[-1], data, seed)
    net = network(shared, shapes[-1], data, seed)
    SEARCH.train(net, shapes, data, seed)
    fitting = [shape for shape in shapes if layer_parameters(shape) <= BUDGET]
    some = random.Random(seed).sample(fitting, COMPARED)
    inherited = {shape: held_out_cosine(net, shape, data) for shape in some}
    best = max(some, key=inherited.__getitem__)
    ranked = sorted(some, key=layer_parameters)[:: COMPARED // RANKED]
    after = [held_out_cosine(trained(net, shape, data, RANK_STEPS, seed), shape, data) for shape in ranked]
    # scipy's result is a named tuple whose fields its stubs do not declare.
    ranks: list[Any] = [
        spearmanr([order(shape) for shape in ranked], after) for order in (inherited.__getitem__, layer_parameters)
    ]
    return {
        "autodistil": of_held_out(trained(net, best, data, LAST_STEPS, seed), best, held_out, data),
        "hand-sized": of_held_out(trained(start, HAND, data, ALL_STEPS, seed), HAND, held_out, data),
        "picked shape alone": of_held_out(trained(start, best, data, ALL_STEPS, seed), best, held_out, data),
        "picked, before the last steps": of_held_out(net, best, held_out, data),
        "rank, cosine before the last steps": float(ranks[0].statistic),
        "rank, parameters": float(ranks[1].statistic),
    }


def network(shared: dict[str, Any], largest: Shape, data: TeacherTexts, seed: int) -> SuperNet:
    """Return the shared network at its start, with a frozen table."""
    net = SuperNet(shared, largest, data.targets.shape[1], seed)
    net.start_from(data.model)
    net.body.embeddings.requires_grad_(False)
    return net


def trained(net: SuperNet, shape: Shape, data: TeacherTexts, steps: int, seed: int) -> SuperNet:
    """Return a network of the subnet ``shape`` alone, which continues from the weights of ``net`` for ``steps``."""
    alone = network(net.shared, shape, data, seed)
    alone.body.load_state_dict(net.extracted(shape).state_dict())
    with torch.no_grad():
        alone.bridge.weight.copy_(net.bridge.weight[:, : shape.hidden])
        alone.bridge.bias.copy_(net.bridge.bias)
    optimiser = torch.optim.AdamW([one for one in alone.parameters() if one.requires_grad], lr=SEARCH.rate)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = SEARCH.rate * (1 - step / steps)
        # Other texts than those of the first steps of the shared training.
        features, targets = data.batch(random.Random(f"{seed} alone {step}"))
        SEARCH.loss(alone, shape, features, targets, data.model).backward()
        optimiser.step()
        optimiser.zero_grad()
    return alone


@torch.no_grad()
def of_held_out(net: SuperNet, shape: Shape, held_out: LabTexts, data: TeacherTexts) -> float:
    """Return the mean cosine of the subnet ``shape`` on the texts ``held_out``."""
    found = [net(data.read(part), shape).numpy() for part in parts(held_out.texts)]
    return cosine(numpy.concatenate(found), held_out.vectors)


def parts(texts: Sequence[str], size: int = 100) -> list[list[str]]:
    """Return ``texts`` in parts of ``size``."""
    return [list(texts[start : start + size]) for start in range(0, len(texts), size)]
