"""FIRST: the student learns the teacher's few largest probabilities, after they were calibrated on labelled texts.

Paper: https://arxiv.org/abs/2408.12168

    p_i  = softmax(z_T / tau)_i for the teacher's largest logits z_T, with the tau of the lowest NLL on reserved texts
    loss = sum_i p_i log(p_i / q_i) + r_p log(r_p / r_q), with the rests r_p = 1 - sum_i p_i and r_q = 1 - sum_i q_i

Without the rest, p and q are divided by their sums over the kept items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy

from leafkit.errors import OptionError
from leafkit.methods.anchors import AnchorKind, check_anchors, fit_anchors
from leafkit.methods.candidates import (
    check_lists,
    check_reserved,
    choices,
    draw_reserved,
    fit_candidates,
    own_reserved,
    unit_targets,
)
from leafkit.methods.divergences import kl_of_logs
from leafkit.methods.method import Objective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Facts, Setting
    from leafkit.types import Int64

Items = Literal[AnchorKind, "pairs"]


@dataclass(frozen=True, kw_only=True)
class First(Objective):
    """Add the divergence from the teacher's calibrated largest probabilities over classes, documents or anchors.

    The temperature is calibrated on reserved texts, whose class or document is known. A perfect student of LEAF does
    not have a loss of 0: its probabilities are the teacher's before calibration.

    ``weight``: multiplies the loss (ours 0.1, added to LEAF; the paper trains on this loss alone).
    ``anchors``: what the probabilities are about (the paper's vocabulary): ``labels`` (classes), ``pairs`` (the
    documents of each query's list), or ``clusters`` or ``texts``, which cannot be calibrated.
    ``count``: number of anchors, or of documents in a list; ignored with ``anchors=labels`` (ours).
    ``most``: how many of the teacher's largest probabilities are kept (paper: 5, which hold 95 % of the mass).
    ``rest``: if true, the mass outside the kept items is one more item; the paper renormalises the kept items instead.
    ``calibration``: number of texts with a class or document that are reserved to calibrate on (ours 200); 0 leaves
    the teacher's probabilities as they are.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2408.12168"
    elicits: ClassVar[tuple[str, ...]] = ("labeling",)
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    small: ClassVar[Mapping[str, Any]] = {"count": 8, "most": 2, "calibration": 20}
    reconstruction: ClassVar[str] = (
        "the official code was read for the loss, the calibration only in reviews: its grid of temperatures is not "
        "known; classes, lists or anchors replace the vocabulary; the largest probabilities are computed from the "
        "teacher's cached vector instead of being stored; the loss is a mean over texts, not a sum over tokens; the "
        "rest is one more item of the divergence, as in the paper's option but without the error of its code; label "
        "smoothing, which the paper rejects, is left out"
    )

    weight: float = 0.1
    anchors: Items = "labels"
    count: int = 64
    most: int = 5
    rest: bool = True
    calibration: int = 200

    def __post_init__(self) -> None:
        kinds = ("pairs", *get_args(AnchorKind))
        self.check_fields(
            {
                "anchors": (self.anchors in kinds, f"{', '.join(kinds[:-1])} or {kinds[-1]}"),
                "count": (self.count >= 2, "2 or more anchors"),
                "most": (self.most >= 1, "1 or more kept probabilities"),
                "calibration": (self.calibration >= 0, "0 or more texts"),
            }
        )
        if self.calibration and self.anchors in ("clusters", "texts"):
            raise OptionError(
                f"first cannot calibrate on anchors={self.anchors}, because none of them is the right one. Choose "
                "anchors=labels or anchors=pairs, or calibration=0."
            )

    @property
    def needs(self) -> frozenset[str]:
        """The labels or pairs that ``anchors`` names."""
        return frozenset({self.anchors} & {"labels", "pairs"})

    @property
    def remembers_texts(self) -> bool:
        """Whether lists are stored by row: with ``anchors=pairs``."""
        return self.anchors == "pairs"

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` for lists or anchors longer than the texts allow, or too few texts to calibrate on."""
        if self.anchors == "pairs":
            check_lists(facts, self.count, "first:count")
        else:
            check_anchors(facts, self.anchors, self.count)
        if self.calibration:
            check_reserved(facts, self.calibration, "first:calibration", pairs=self.anchors == "pairs")

    def reserve(self, facts: Facts) -> Int64:
        """Return the rows to calibrate on, none if the method is off."""
        count = self.calibration if self.weight else 0
        return draw_reserved(facts, count, pairs=self.anchors == "pairs")

    def build(self, setting: Setting) -> nn.Module:
        """Return the ``items`` to choose among and ``tau``, the temperature that calibrates the teacher."""
        import torch

        state: Any = torch.nn.Module()
        if self.anchors == "pairs":
            state.items = fit_candidates(setting, self.count)
        else:
            # The class means must not know the texts that calibrate them.
            others = numpy.setdiff1d(numpy.arange(setting.texts), setting.reserved)
            state.items = fit_anchors(setting.restricted(others), self.anchors, self.count)
        rows = own_reserved(setting, pairs=self.anchors == "pairs")
        asked = choices(state.items, torch.from_numpy(rows), torch.from_numpy(setting.labels[rows]))
        tau = fit_tau(asked.logits(unit_targets(setting, rows)), asked.gold) if self.calibration and len(rows) else 1.0
        state.register_buffer("tau", torch.tensor(tau))
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the divergence of each text, (rows,), 0 for a text without a list."""
        asked = choices(state.items, batch.rows, batch.labels)
        teacher = (asked.logits(batch.teacher.detach()) / state.tau).log_softmax(dim=-1)
        student = asked.logits(batch.student).log_softmax(dim=-1)
        return {"first": kept_divergence(student, teacher, self.most, rest=self.rest) * asked.listed}


def kept_divergence(student: Tensor, teacher: Tensor, most: int, *, rest: bool) -> Tensor:
    """Return KL(teacher || student), (rows,), over the teacher's ``most`` largest log-probabilities, (rows, count).

    With ``rest``, all other items together are one more item; without, both sides are renormalised.
    """
    import torch

    places = teacher.topk(min(most, teacher.shape[1]), dim=-1).indices
    sides = [logs.gather(1, places) for logs in (teacher, student)]
    if rest and places.shape[1] < teacher.shape[1]:
        others = [logs.scatter(1, places, -torch.inf).logsumexp(dim=-1, keepdim=True) for logs in (teacher, student)]
        sides = [torch.cat(pair, dim=1) for pair in zip(sides, others, strict=True)]
    else:
        sides = [logs.log_softmax(dim=-1) for logs in sides]
    return kl_of_logs(*sides)


def fit_tau(logits: Tensor, gold: Tensor) -> float:
    """Return the tau of a fine grid from 1/32 to 32 that minimises the NLL of ``gold`` under softmax(logits / tau).

    ``logits`` and the mask ``gold`` are (rows, count). The grid contains 1, so the NLL never rises. The right answer
    has the probability of all ``gold`` items together.
    """
    import torch

    grid = [2 ** (step / 20) for step in range(-100, 101)]
    right = logits.masked_fill(~gold, -torch.inf)
    losses = [float(((logits / tau).logsumexp(-1) - (right / tau).logsumexp(-1)).double().mean()) for tau in grid]
    return grid[losses.index(min(losses))]
