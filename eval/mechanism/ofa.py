"""OFA: every stage predicts the teacher's logits, for a student whose architecture differs from the teacher's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from eval.mechanism.figures import accuracy, class_scores
from eval.mechanism.lab import Lab
from eval.mechanism.texts import LabTexts
from leafkit.methods.method import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Setting
    from leafkit.types import Float32

CLAIM = (
    "For unlike architectures, stages that predict the teacher's logits help; stages that imitate its states do not."
)
PREMISE = "The student is a perceptron on mean token embeddings, the teacher a transformer; 1,000 labelled texts."
CONTROL = "Cross-entropy with the same labels at the same pull; plain KL divergence and hints (FitNets) beside it."
FIGURE = "accuracy on 2,000 held-out texts"
ARMS = ("ofa", "cross-entropy", "kl", "hints", "ofa without stages", "ofa without enhancement", "leaf")

PULL = 0.3
OFA = "ofa:anchors=labels,stages=3"


@dataclass(frozen=True, kw_only=True)
class Hints(Objective):
    """Each hidden layer predicts ``states``, the teacher's states after its layers, through a linear map."""

    paper: ClassVar[str] = "https://arxiv.org/abs/1412.6550"
    states: tuple[Float32, ...] = ()

    def build(self, setting: Setting) -> nn.Module:
        """Return a linear map for each layer."""
        return nn.ModuleList(nn.Linear(setting.width, states.shape[1]) for states in self.states)

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the mean squared distance of each text, over the layers."""
        rows = batch.rows.numpy()
        errors = [
            (read(layer) - torch.from_numpy(states[rows])).square().mean(dim=-1)
            for read, layer, states in zip(state, batch.layers, self.states, strict=True)
        ]
        return {"hints": torch.stack(errors).mean(dim=0)}


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the accuracy of LEAF with each loss."""
    train, held_out = lab.texts("banking77", seed=seed, train=1000, held_out=2000, layer=0)
    hints = Hints(states=tuple(_states(lab, train, seed, layer) for layer in (1, 2, 3)))
    methods: dict[str, list[Any]] = {
        "ofa": ["leaf", OFA],
        "hints": ["leaf", hints],
        "kl": ["leaf", "ofa:anchors=labels,stages=0,exponent=1"],
        "ofa without stages": ["leaf", "ofa:anchors=labels,stages=0"],
        "ofa without enhancement": ["leaf", f"{OFA},exponent=1"],
        "leaf": ["leaf"],
        "cross-entropy": ["leaf", "pskd:alpha=0,anchors=labels"],
    }
    figures = {}
    for arm, specs in methods.items():
        name = "pskd" if arm == "cross-entropy" else "ofa"
        # The pull is measured at the last layer, where hints pull least.
        pulls = {} if arm == "leaf" else {name: PULL / 10 if arm == "hints" else PULL}
        vectors = lab.train(specs, train, seed=seed, depth=3, pulls=pulls).encode(held_out)
        figures[arm] = accuracy(class_scores(vectors, train.vectors, train.labels), held_out.labels)
    return figures


def _states(lab: Lab, train: LabTexts, seed: int, layer: int) -> Float32:
    """Return the teacher's standardised states after ``layer`` layers, for the texts of the same split."""
    return lab.texts("banking77", seed=seed, train=len(train), held_out=2000, layer=layer)[0].features
