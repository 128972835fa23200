"""OFA: every stage of the student is to give the teacher's final logits, with the class of the text enhanced.

Paper: https://arxiv.org/abs/2310.19444

    w_c = (p_c + m_c)^exponent - m_c, of the teacher's probabilities p and the one-hot class m
    OFA(q) = - sum_c w_c log q_c
    loss = OFA(final output) + sum over stages of OFA(branch of the stage)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from leafkit.errors import OptionError
from leafkit.methods.anchors import AnchorKind, fit_anchors
from leafkit.methods.method import Objective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Setting


@dataclass(frozen=True, kw_only=True)
class Ofa(Objective):
    """The student's output and the branches of its stages predict the teacher's distribution over the anchors.

    A branch maps a layer's mean token state to the teacher's space; nothing of the teacher but its vectors is used,
    and branches are thrown away with the run. With an exponent over 1 the loss of a perfect student is not zero,
    and its best distribution is w / sum(w), sharper than the teacher's.

    ``weight``: multiplies every term, final and stages alike (paper: 1; ours 0.1 as an addition to LEAF).
    ``exponent``: the enhancement of the text's class, 1 or more; 1 for none (paper: 1 to 1.5, by pair; ours 1.5).
    ``stages``: how many branches at equal distances, the last after the last layer; a student with fewer layers has
    one a layer; 0 for the final output alone (paper: 4).
    ``anchors``, ``count``: the kind of anchors that stand for classes, and how many unless by labels (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2310.19444"
    needs: ClassVar[frozenset[str]] = frozenset({"layers"})
    reconstruction: ClassVar[str] = (
        "LEAF takes the place of cross-entropy with the class; logits are those against the anchors, and a text "
        "without a label has the class of the anchor nearest to its teacher vector; a branch is a perceptron on the "
        "mean token state, not transformer blocks on tokens; one exponent for all stages"
    )

    weight: float = 0.1
    exponent: float = 1.5
    stages: int = 4
    anchors: AnchorKind = "clusters"
    count: int = 64

    def __post_init__(self) -> None:
        wanted = {
            "exponent": (1 <= self.exponent < math.inf, "1 or more"),
            "stages": (self.stages >= 0, "0 or more branches"),
            "anchors": (self.anchors in get_args(AnchorKind), ", ".join(get_args(AnchorKind))),
            "count": (self.count >= 2, "2 or more anchors"),
        }
        self.check_fields(wanted)

    def build(self, setting: Setting) -> nn.Module:
        """``anchors``, and ``branches`` by the place of the layer that each reads."""
        from torch import nn

        if setting.depth == 0:
            raise OptionError("ofa reads the student's layers, and this one has none; wanted a transformer")
        state = nn.Module()
        state.anchors = fit_anchors(setting, self.anchors, self.count)
        state.branches = nn.ModuleDict(
            {
                str(layer): nn.Sequential(
                    nn.Linear(setting.width, setting.width), nn.GELU(), nn.Linear(setting.width, setting.dim)
                )
                for layer in stage_layers(setting.depth, self.stages)
            }
        )
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """The OFA loss of each text, (rows,), of the ``final`` output and of each stage, ``layer_0`` the first."""
        import torch
        from torch.nn.functional import one_hot

        probabilities = torch.softmax(state.anchors.logits(batch.teacher.detach()), dim=-1)
        mask = one_hot(state.anchors.classes(batch), probabilities.shape[-1]).to(probabilities.dtype)
        weights = enhanced(probabilities, mask, self.exponent)
        losses = {"final": weighted_cross_entropy(state.anchors.logits(batch.student), weights)}
        for layer, branch in state.branches.items():
            tokens = batch.layers[int(layer)].to(next(branch.parameters()).dtype)
            losses[f"layer_{layer}"] = weighted_cross_entropy(state.anchors.logits(branch(tokens)), weights)
        return losses


def stage_layers(depth: int, stages: int) -> list[int]:
    """The last layer of each of ``stages`` equal parts of ``depth`` layers, counted from 0, each once."""
    return sorted({math.ceil(depth * stage / stages) - 1 for stage in range(1, stages + 1)})


def enhanced(probabilities: Tensor, mask: Tensor, exponent: float) -> Tensor:
    """The weight of each class, (rows, count): ``mask`` is 1 at the class of the text, 0 elsewhere."""
    return (probabilities + mask).pow(exponent) - mask


def weighted_cross_entropy(logits: Tensor, weights: Tensor) -> Tensor:
    """Minus the ``weights``' sum of log-probabilities of ``logits``, (rows,); the weights need not sum to one."""
    return -(weights * logits.log_softmax(dim=-1)).sum(dim=-1)
