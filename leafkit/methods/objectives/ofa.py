"""OFA: every stage of the student predicts the teacher's final logits, with the text's class enhanced.

Paper: https://arxiv.org/abs/2310.19444

    w_c = (p_c + m_c)^exponent - m_c, with the teacher's probabilities p and the one-hot class m
    OFA(q) = - sum_c w_c log q_c
    loss = OFA(final output) + sum over stages of OFA(branch of the stage)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from leafkit.errors import OptionError
from leafkit.methods.anchors import AnchorKind, anchor_needs, check_anchor_fields, check_anchors, fit_anchors
from leafkit.methods.method import Objective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Facts, Setting


@dataclass(frozen=True, kw_only=True)
class Ofa(Objective):
    """Train the student's output and a branch after each stage to predict the teacher's anchor distribution.

    A branch maps the mean token state of a layer to the teacher's space. Branches start in closed form and are not
    exported. Of the teacher,
    only its vectors are used. With an exponent above 1, the loss of a perfect student is above 0, and the best
    distribution is w / sum(w), which is sharper than the teacher's.

    ``weight``: multiplies all terms, of the output and of the stages (paper: 1; ours 0.1, added to LEAF).
    ``exponent``: enhancement of the text's class, 1 or more; 1 is no enhancement (paper: 1 to 1.5, by pair; ours 1.5).
    ``stages``: number of branches at equal distances, the last one after the last layer; a student with fewer layers
    has one branch for each layer; 0 trains the output only, which suits a token table (paper: 4).
    ``anchors``: kind of the anchors that replace classes (ours).
    ``count``: number of anchors; ignored with ``anchors=labels`` (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2310.19444"
    elicits: ClassVar[tuple[str, ...]] = ("feature",)
    learns_by: ClassVar[tuple[str, ...]] = ("supervised fine-tuning", "divergence and similarity")
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    reconstruction: ClassVar[str] = (
        "LEAF replaces cross-entropy with the class; logits are those with the anchors; a text without a label has the "
        "class of the anchor nearest to its teacher vector; a branch is a perceptron on the mean token state, not "
        "transformer blocks on tokens; all stages share one exponent"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8}

    weight: float = 0.1
    exponent: float = 1.5
    stages: int = 4
    anchors: AnchorKind = "clusters"
    count: int = 64

    def __post_init__(self) -> None:
        checks = {
            "exponent": (1 <= self.exponent < math.inf, "1 or more"),
            "stages": (self.stages >= 0, "0 or more branches"),
            **check_anchor_fields(self.anchors, self.count),
        }
        self.check_fields(checks)

    @property
    def needs(self) -> frozenset[str]:
        """The layers of the student for ``stages``, and the labels of the texts for ``anchors=labels``."""
        return anchor_needs(self.anchors) | ({"layers"} if self.stages else set())

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` for a student without layers, or if the texts do not allow the anchors."""
        if self.stages and facts.depth == 0:
            raise OptionError(
                "ofa reads the layers of the student, but a token table has none. Choose a transformer as student, or "
                "set ofa:stages=0 to train the output only."
            )
        check_anchors(facts, self.anchors, self.count)

    def build(self, setting: Setting) -> nn.Module:
        """Return the ``anchors`` and the ``branches``, by the number of the layer that each branch reads."""
        import torch
        from torch import nn

        from leafkit.methods.closed_form import SAMPLE, layer_states, start_linear

        state: Any = nn.Module()
        state.anchors = fit_anchors(setting, self.anchors, self.count)
        layers = stage_layers(setting.depth, self.stages) if self.stages else []
        branches = {layer: new_branch(setting.width, setting.dim) for layer in layers}
        if layers:
            rows = setting.sample(SAMPLE)
            states, targets = layer_states(setting, rows), torch.from_numpy(setting.targets(rows))
            for layer, (first, activation, last) in branches.items():
                start_linear(last, activation(first(states[layer])).detach(), targets)
        state.branches = nn.ModuleDict({str(layer): nn.Sequential(*parts) for layer, parts in branches.items()})
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the OFA loss of each text, (rows,), of the ``final`` output and of each ``layer_N`` with a branch."""
        import torch
        from torch.nn.functional import one_hot

        probabilities = torch.softmax(state.anchors.logits(batch.teacher.detach()), dim=-1)
        mask = one_hot(state.anchors.classes(batch.teacher, batch.labels), probabilities.shape[-1]).to(
            probabilities.dtype
        )
        weights = enhanced(probabilities, mask, self.exponent)
        losses = {"final": weighted_cross_entropy(state.anchors.logits(batch.student), weights)}
        for layer, branch in state.branches.items():
            tokens = batch.layers[int(layer)].to(next(branch.parameters()).dtype)
            losses[f"layer_{layer}"] = weighted_cross_entropy(state.anchors.logits(branch(tokens)), weights)
        return losses


def new_branch(width: int, dim: int) -> tuple[nn.Linear, nn.GELU, nn.Linear]:
    """Return the layers of a perceptron from a mean token state (rows, width) to the teacher's space (rows, dim)."""
    from torch import nn

    return nn.Linear(width, width), nn.GELU(), nn.Linear(width, dim)


def stage_layers(depth: int, stages: int) -> list[int]:
    """Return the last layer, counted from 0, of each of ``stages`` equal parts of ``depth`` layers; each layer once."""
    return sorted({math.ceil(depth * stage / stages) - 1 for stage in range(1, stages + 1)})


def enhanced(probabilities: Tensor, mask: Tensor, exponent: float) -> Tensor:
    """Return the weight of each class, (rows, count); ``mask`` is 1 for the class of the text and 0 elsewhere."""
    return (probabilities + mask).pow(exponent) - mask


def weighted_cross_entropy(logits: Tensor, weights: Tensor) -> Tensor:
    """Return - sum ``weights`` log softmax(``logits``), (rows,), for (rows, count); weights need not sum to 1."""
    return -(weights * logits.log_softmax(dim=-1)).sum(dim=-1)
