"""DisWOT: the score of untrained students, and the learning of students of equal size."""

from __future__ import annotations

import random
from typing import Any

import numpy
import torch
from torch.nn.functional import normalize

from eval.mechanism.figures import cosine
from eval.mechanism.lab import Lab
from eval.mechanism.texts import LabTexts
from leafkit.methods.architectures.diswot import Diswot, Scorer, Shape
from leafkit.teachers.open import open_teacher

CLAIM = "The score of untrained students tells which of them learns most from the teacher."
PREMISE = (
    "Eight shapes with as many parameters in their layers (553,000 to 664,000); the table of tokens is not counted."
)
CONTROL = "The width: the widest student of the same number of parameters."
FIGURE = "Kendall tau with the held-out cosine after 60 steps of LEAF"
ARMS = ("score", "width", "depth", "relation term", "semantic term")

SHAPES = tuple(
    Shape(layers=layers, hidden=hidden, heads=4, feed_forward=factor)
    for layers, hidden, factor in (
        (1, 256, 3),
        (2, 192, 2),
        (3, 192, 1),
        (3, 128, 4),
        (4, 128, 3),
        (6, 128, 1),
        (5, 96, 4),
        (6, 96, 3),
    )
)
STEPS, BATCH, TOKENS, RATE = 60, 16, 16, 1e-3


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the tau of each way to order the shapes."""
    from scipy.stats import kendalltau

    train, held_out = lab.texts("banking77", seed=seed)
    teacher: Any = open_teacher(lab.teacher)
    scorer = Scorer(teacher.model, train.texts, Diswot(inits=2, batches=1), seed)
    scores = [scorer.scores(shape) for shape in SHAPES]
    learned = [trained(shape, scorer, train, held_out, teacher.model.tokenizer, seed) for shape in SHAPES]
    orders = {
        "score": [score.total for score in scores],
        "width": [shape.hidden for shape in SHAPES],
        "depth": [shape.layers for shape in SHAPES],
        "relation term": [score.relation for score in scores],
        "semantic term": [score.semantic for score in scores],
    }
    # scipy's result is a named tuple whose fields its stubs do not declare.
    taus: dict[str, Any] = {arm: kendalltau(order, learned) for arm, order in orders.items()}
    return {arm: float(tau.statistic) for arm, tau in taus.items()}


def trained(shape: Shape, scorer: Scorer, train: LabTexts, held_out: LabTexts, tokenizer: Any, seed: int) -> float:
    """Return the held-out cosine of a student of this shape with random weights, after `STEPS` steps of LEAF."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    body = BertModel(BertConfig(**shape.config(scorer.shared)), add_pooling_layer=False)
    head = torch.nn.Linear(shape.hidden, train.vectors.shape[1])

    def vectors(texts: LabTexts, rows: Any) -> torch.Tensor:
        chosen = [texts.texts[row] for row in rows]
        tokens = tokenizer(chosen, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
        mask = tokens["attention_mask"][..., None]
        states = body(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
        return normalize(head((states * mask).sum(dim=1) / mask.sum(dim=1)), dim=-1)

    # The table learns sparsely in so few steps, and a dense step over it would cost most of the time.
    body.embeddings.requires_grad_(False)
    parameters = [value for value in [*body.parameters(), *head.parameters()] if value.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=RATE)
    draw = random.Random(seed)
    for _ in range(STEPS):
        rows = draw.sample(range(len(train)), BATCH)
        loss = (vectors(train, rows) - torch.from_numpy(train.vectors[rows])).norm(dim=-1).mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    with torch.inference_mode():
        found = numpy.concatenate([vectors(held_out, part).numpy() for part in numpy.array_split(range(500), 8)])
    return cosine(found, held_out.vectors)
