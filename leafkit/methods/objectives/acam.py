"""ACAM-KD: masks over dimensions and words, made from student and teacher together, weigh the distance between both.

Paper: https://arxiv.org/abs/2503.06307

    A = softmax(Q K^T / sqrt(C / 2)), Q = W_q F_T, K = W_k F_S;    F_f = A W_v F_S, with positions as rows
    channel masks M_c = sigmoid(m_c v), v the mean row of F_f;    position masks M_s = sigmoid(m_s F_f^T)
    channel  = mean over masks and positions of |M_c (F_T - f(F_S))|^2
    position = mean over masks and channels of |M_s (F_T - f(F_S))|^2
    diversity (Dice) = 2 sum_{i != j} M_i . M_j / (sum_i |M_i|^2 + sum_j |M_j|^2)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import nn

from leafkit.errors import OptionError
from leafkit.methods.batch import require_tokens
from leafkit.methods.closed_form import start_linear
from leafkit.methods.method import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.batch import Batch, TokenStates
    from leafkit.methods.setting import Facts, Setting

Form = Literal["pooled", "tokens"]
Fusion = Literal["cooperative", "reversed", "teacher"]
Guard = Literal["detach", "mass", "none"]

# The texts whose token states the closed-form alignment is fitted to.
SAMPLE = 128


@dataclass(frozen=True, kw_only=True)
class Acam(Objective):
    """Imitate the teacher where masks say so; the masks are learned from what student and teacher write now.

    With ``form=pooled``, the texts of the batch are the positions, the dimensions of the vectors are the channels, and
    only channel masks are used. With ``form=tokens``, the words of each text are the positions, and the student's last
    token states are mapped to the teacher's by a linear layer that is trained beside the student and not exported; the
    head of the student learns from other objectives only. Nothing of the masks trains the student except as weights.

    ``weight``: multiplies all terms (ours 0.1, added to LEAF; paper: 1, added to the loss of the task).
    ``form``: ``pooled`` or ``tokens`` (paper: positions of an image).
    ``masks``: M, the number of masks (paper: 6 for detection).
    ``diversity``: factor of the Dice term, which keeps the masks apart (paper: 1).
    ``fusion``: ``cooperative``, where the teacher's states look for the student's (paper), ``reversed``, where the
    student's look for the teacher's (paper: slightly worse), or ``teacher``, the control whose masks ignore the
    student.
    ``guard``: what keeps the masks from vanishing to make the distance small. ``detach`` trains them by diversity
    alone, ``mass`` holds the mean of each mask at ``mean``, and ``none`` lets them vanish.
    ``mean``: the mean of each mask with ``guard=mass`` (ours 0.5).
    ``power``: the power of the mask in the squared distance: 2, or 3 if the paper's mask counts twice (open).
    ``kept``: number of first dimensions that no channel mask weighs down, for teachers whose first dimensions are
    used alone (ours 0).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2503.06307"
    elicits: ClassVar[tuple[str, ...]] = ("labeling", "feature")
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    reconstruction: ClassVar[str] = (
        "reconstructed from two summaries, without the paper's code; whether the mask enters once or twice and whether "
        "the distance trains the masks are open, so they are fields; LEAF replaces the loss of the task; words of a "
        "text or texts of a batch replace positions of an image; pooled vectors are multiplied by the root of their "
        "dimension before they make masks; the student gets no gradient through the masks"
    )

    weight: float = 0.1
    form: Form = "pooled"
    masks: int = 6
    diversity: float = 1.0
    fusion: Fusion = "cooperative"
    guard: Guard = "detach"
    mean: float = 0.5
    power: int = 2
    kept: int = 0

    def __post_init__(self) -> None:
        kinds = {"form": get_args(Form), "fusion": get_args(Fusion), "guard": get_args(Guard)}
        checks = {name: (getattr(self, name) in allowed, ", ".join(allowed)) for name, allowed in kinds.items()}
        checks |= {
            "masks": (self.masks >= 1, "1 or more masks"),
            "diversity": (0 <= self.diversity < math.inf, "0 or more"),
            "mean": (0 < self.mean < 1, "more than 0 and less than 1"),
            "power": (self.power in (2, 3), "2 or 3"),
            "kept": (self.kept >= 0, "0 or more dimensions"),
        }
        self.check_fields(checks)

    @property
    def needs(self) -> frozenset[str]:
        """The token states, for ``form=tokens``."""
        return frozenset({"tokens"} if self.form == "tokens" else ())

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if no dimension is left for the channel masks."""
        if self.form == "pooled" and self.kept >= facts.dim:
            raise OptionError(f"acam:kept is {self.kept}; expected less than {facts.dim}, the teacher's dimension.")

    def build(self, setting: Setting) -> nn.Module:
        """Return the mask ``generator``, and for tokens ``align``, from the student's states to the teacher's."""
        state: Any = nn.Module()
        dim = setting.dim
        if self.form == "tokens":
            states = require_tokens(setting.batch(setting.sample(SAMPLE)))
            dim = states.teacher.shape[-1]
            state.align = aligned(states)
        state.generator = MaskGenerator(dim, self.masks)
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return ``channel`` and ``diversity`` of each text, (rows,), and ``position`` for tokens.

        With ``form=pooled`` all texts of a batch share their masks, so ``diversity`` is the same for all.
        """
        return self._of_tokens(batch, state) if self.form == "tokens" else self._of_vectors(batch, state)

    def _of_vectors(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        teacher, student = (vectors.float()[None] for vectors in (batch.teacher.detach(), batch.student))
        everyone = torch.ones(teacher.shape[:2], dtype=torch.bool, device=teacher.device)
        scale = teacher.shape[-1] ** 0.5
        fused = self._fused(state.generator, teacher * scale, student * scale, everyone)
        channel = state.generator.channel_masks(fused, everyone)
        distances = self._channel_weights(channel)[:, None] * (teacher - student).square()
        return {"channel": distances.sum(dim=-1)[0], "diversity": self._dice(channel).expand(len(batch.rows))}

    def _of_tokens(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        tokens = require_tokens(batch)
        words = tokens.mask
        weight = state.align.weight
        teacher, student = tokens.teacher.detach().to(weight.dtype), state.align(tokens.student.to(weight.dtype))
        fused = self._fused(state.generator, teacher, student, words)
        channel = state.generator.channel_masks(fused, words)
        position = state.generator.position_masks(fused) * words[:, None]
        squares = (teacher - student).square() * words[..., None]
        by_channel = (self._channel_weights(channel)[:, None] * squares).sum(dim=(1, 2))
        by_position = (self._weights(position, words) * squares.mean(dim=-1)).sum(dim=-1)
        return {
            "channel": by_channel / words.sum(dim=1).clamp(min=1),
            "position": by_position,
            "diversity": self._dice(channel) + self.diversity * dice(position),
        }

    def _fused(self, generator: MaskGenerator, teacher: Tensor, student: Tensor, words: Tensor) -> Tensor:
        teacher, student = teacher.detach(), student.detach()
        sides = {"cooperative": (teacher, student), "reversed": (student, teacher), "teacher": (teacher, teacher)}
        return generator(*sides[self.fusion], words)

    def _channel_weights(self, masks: Tensor) -> Tensor:
        """Return the weight of each channel, (texts, channels), from ``masks`` (texts, M, channels)."""
        weights = self._weights(masks, torch.ones_like(masks[:, 0], dtype=torch.bool))
        return torch.cat([torch.ones_like(weights[:, : self.kept]), weights[:, self.kept :]], dim=1)

    def _weights(self, masks: Tensor, valid: Tensor) -> Tensor:
        """Return the mean over the masks of their power, (texts, places), guarded; ``valid`` places are counted."""
        if self.guard == "detach":
            masks = masks.detach()
        if self.guard == "mass":
            means = masks.sum(dim=-1, keepdim=True) / valid.sum(dim=-1).clamp(min=1)[:, None, None]
            masks = masks * self.mean / means.clamp(min=torch.finfo(masks.dtype).tiny)
        return masks.pow(self.power).mean(dim=1)

    def _dice(self, channel: Tensor) -> Tensor:
        return self.diversity * dice(channel[..., self.kept :])


class MaskGenerator(nn.Module):
    """Attention between the states of both sides, and the learned vectors that turn its result into M masks.

    ``channel`` is (M, 1) and ``position`` (M, channels): m_c and m_s of the paper.
    """

    def __init__(self, channels: int, masks: int) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.query = nn.Linear(channels, half, bias=False)
        self.key = nn.Linear(channels, half, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        self.channel = nn.Parameter(torch.randn(masks, 1))
        self.position = nn.Parameter(torch.randn(masks, channels) / channels**0.5)

    def forward(self, asking: Tensor, asked: Tensor, words: Tensor) -> Tensor:
        """Return the fused states, (texts, positions, channels), of two sides of that shape; 0 outside ``words``."""
        return self.attention(asking, asked, words) @ self.value(asked)

    def attention(self, asking: Tensor, asked: Tensor, words: Tensor) -> Tensor:
        """Return the attention, (texts, positions, positions); a row of a word sums to 1 over the words, others to 0.

        ``words`` (texts, positions) is True for the positions that take part.
        """
        scores = self.query(asking) @ self.key(asked).mT / self.query.out_features**0.5
        # Not -inf, because a text without any word would then have NaN.
        scores = scores.masked_fill(~words[:, None], torch.finfo(scores.dtype).min)
        return scores.softmax(dim=-1) * words[:, None] * words[..., None]

    def channel_masks(self, fused: Tensor, words: Tensor) -> Tensor:
        """Return the channel masks, (texts, M, channels), from the mean of the ``fused`` states over the words."""
        mean = fused.sum(dim=1) / words.sum(dim=1).clamp(min=1)[:, None]
        return torch.sigmoid(self.channel * mean[:, None])

    def position_masks(self, fused: Tensor) -> Tensor:
        """Return the position masks, (texts, M, positions)."""
        return torch.sigmoid(self.position @ fused.mT)


def dice(masks: Tensor) -> Tensor:
    """Return the Dice overlap of ``masks`` (..., M, places), (...): M - 1 if all are equal, 0 if none overlap."""
    squares = masks.square().sum(dim=(-2, -1))
    overlaps = masks.sum(dim=-2).square().sum(dim=-1) - squares
    return overlaps / squares.clamp(min=torch.finfo(masks.dtype).tiny)


def aligned(states: TokenStates) -> nn.Linear:
    """Return the closed-form linear map from the student's to the teacher's states of the words in ``states``."""
    student, teacher = (side.detach()[states.mask] for side in (states.student, states.teacher))
    align = nn.Linear(student.shape[1], teacher.shape[1])
    start_linear(align, student, teacher)
    return align
