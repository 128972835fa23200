"""Talking Models: the student asks with its low states, and the teacher answers after thinking the question through.

Paper: https://arxiv.org/abs/2310.03188

    question m1 = E_S(s_l);  heard t'_l = D_T(m1);  answer m2 = E_T(T_l..h(t'_l));  understood s'_h = D_S(m2)
    interact = |s_h - s'_h|^2, through the upper half T_l..h of the frozen teacher
    message  = |E_S(s_l) - E_T(t_l)|^2 + |E_S(s_h) - E_T(t_h)|^2, with t of the teacher's ordinary pass
    state    = sum over both models and levels of |D(E(x)) - x|^2
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import nn

from leafkit.errors import OptionError
from leafkit.methods.closed_form import start_linear
from leafkit.methods.method import Objective
from leafkit.students.head import Linear, set_linear

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Facts, Live, Setting

Path = Literal["both", "reply", "hint"]

# The texts whose states the closed-form codecs are fitted to, and those of one forward pass.
SAMPLE, CHUNK = 128, 32
TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class Talking(Objective):
    """Let the student ask the teacher a question in the middle of its layers, and agree with what it is answered.

    The message space has a codec for each model and level, an encoder and a decoder, all linear. They are trained
    beside the student and not exported. The low states are those of every token after a third of the layers; the high
    state is the input of the student's head and the teacher's vector. Every step runs the upper layers of the teacher
    forward and backward, which makes it several times as long.

    ``weight``: multiplies all terms (ours 0.1, added to LEAF).
    ``path``: ``both``, where the student asks and the teacher answers, or the controls with the same parameters:
    ``reply``, where the teacher says what it thinks of the text without being asked, and ``hint``, where the teacher's
    states of both levels are imitated directly.
    ``rounds``: number of questions with ``path=both``; after the first, the low states are moved by what the answer
    changed in the high state. 0 disables all terms (ours 1).
    ``interact``: factor of ``interact`` (ours 1). ``consistency``: factor of ``message`` (ours 0.1).
    ``states``: factor of ``state`` (ours 0.1).
    ``low``: where both models talk, as a share of their layers (ours a third).
    ``message``: dimensions of a message, at most those of a state (ours 128).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2310.03188"
    elicits: ClassVar[tuple[str, ...]] = ("feature", "feedback")
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    reconstruction: ClassVar[str] = (
        "the formulas are reconstructed from the abstract and reviews, which confirm the codecs, the way through the "
        "teacher's upper layers and the three losses; the weights, the layers, the width of a message and what a "
        "second round starts from are ours; LEAF replaces the loss of the task; each level has a codec of its own; a "
        "squared error is a share of the variance of its target; codecs start in closed form, the teacher's in its "
        "principal directions; a heard state gets the length of the teacher's own; state trains the codecs alone"
    )

    weight: float = 0.1
    path: Path = "both"
    rounds: int = 1
    interact: float = 1.0
    consistency: float = 0.1
    states: float = 0.1
    low: float = 1 / 3
    message: int = 128

    def __post_init__(self) -> None:
        factors = ("interact", "consistency", "states")
        checks = {name: (0 <= getattr(self, name) < math.inf, "0 or more") for name in factors}
        self.check_fields(
            checks
            | {
                "path": (self.path in get_args(Path), ", ".join(get_args(Path))),
                "rounds": (self.rounds >= 0, "0 or more"),
                "low": (0 < self.low < 1, "more than 0 and less than 1"),
                "message": (self.message >= 1, "1 or more"),
            }
        )
        if not any(getattr(self, name) for name in factors):
            raise OptionError("talking has no term, because all of its factors are 0. Raise one, or remove talking.")

    @property
    def needs(self) -> frozenset[str]:
        """The student's token states after each layer, and the teacher inside the step."""
        return frozenset({"states", "live"})

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` for a student with a single layer, which has no low states below its high state."""
        if facts.depth < 2:
            raise OptionError(f"talking needs a student with 2 or more layers; got {facts.depth}. Give it more layers.")

    def build(self, setting: Setting) -> nn.Module:
        """Return the `Codecs` of both models and levels, and the teacher, which is no part of the module."""
        state: Any = nn.Module()
        state.live = live = _live(setting)
        sides = [self._sides(setting.batch(rows), live) for rows in _chunks(setting.sample(SAMPLE))]
        low_student, low_teacher, high_student, high_teacher = (
            torch.cat([side[place] for side in sides]) for place in range(4)
        )
        state.low = Codecs.fit(low_student, low_teacher, self.message)
        state.high = Codecs.fit(high_student, high_teacher, self.message)
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return ``interact``, ``message`` and ``state`` of each text, (rows,), as far as they are used."""
        if self.rounds == 0:
            return {}
        mask = batch.features["attention_mask"].to(batch.hidden.device)
        low, high = self._student_low(batch).float(), batch.hidden.float()
        taught_low = state.live.states(batch.features, _layer(state.live.depth, self.low)).to(low.device)
        taught_high = batch.teacher.detach().float()
        of_low, of_high = state.low, state.high
        terms = {}
        if self.interact:
            terms["interact"] = self.interact * self._interact(batch, state, low, high, taught_low)
        if self.consistency:
            asked = of_low.apart(of_low.student.encode(low), of_low.teacher.encode(taught_low), "message")
            said = of_high.apart(of_high.student.encode(high), of_high.teacher.encode(taught_high), "message")
            terms["message"] = self.consistency * (mean_of_tokens(asked, mask) + said)
        if self.states:
            kept = of_low.kept(low, "student") + of_low.kept(taught_low, "teacher")
            whole = of_high.kept(high, "student") + of_high.kept(taught_high, "teacher")
            terms["state"] = self.states * (mean_of_tokens(kept, mask) + whole)
        return terms

    def _interact(self, batch: Batch, state: Any, low: Tensor, high: Tensor, taught: Tensor) -> Tensor:
        """Return the distance of the student's states from what it understood, (rows,)."""
        if self.path == "both":
            losses = []
            for _ in range(self.rounds):
                understood = _understood(state.high, self.answer(batch, state, low, taught))
                losses.append(state.high.apart(high, understood, "student"))
                low = low + (understood - high)[:, None]
            return torch.stack(losses).sum(dim=0)
        reply = state.high.apart(high, _understood(state.high, batch.teacher.detach().float()), "student")
        if self.path == "reply":
            return reply
        hint = state.low.apart(low, _understood(state.low, taught), "student")
        return reply + mean_of_tokens(hint, batch.features["attention_mask"].to(hint.device))

    def answer(self, batch: Batch, state: Any, low: Tensor, taught: Tensor) -> Tensor:
        """Return the vectors, (rows, dim), that the teacher ends with if it hears ``low`` in place of its own states.

        ``low`` are the student's states (rows, length, width), and ``taught`` the teacher's of the same tokens, whose
        lengths the heard states get, because the teacher's upper layers have never read others.
        """
        heard = state.low.teacher.decode(state.low.student.encode(low))
        heard = heard * (taught.norm(dim=-1, keepdim=True) / heard.norm(dim=-1, keepdim=True).clamp(min=TINY))
        return state.live.onward(heard, batch.features, _layer(state.live.depth, self.low)).to(low.device)

    def _student_low(self, batch: Batch) -> Tensor:
        return batch.states[_layer(len(batch.states), self.low) - 1]

    def _sides(self, batch: Batch, live: Live) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the low states of the tokens and the high states, of student and teacher, on the CPU."""
        real = batch.features["attention_mask"].bool().cpu()
        low = self._student_low(batch), live.states(batch.features, _layer(live.depth, self.low))
        both = (*(states.detach().float().cpu()[real] for states in low), batch.hidden, batch.teacher)
        return both[0], both[1], both[2].detach().float().cpu(), both[3].detach().float().cpu()


class Codec(nn.Module):
    """The linear maps of one model at one level: from a state, (..., width), to a message and back."""

    def __init__(self, width: int, message: int) -> None:
        super().__init__()
        self.encode = nn.Linear(width, message)
        self.decode = nn.Linear(message, width)


class Codecs(nn.Module):
    """The codecs of ``student`` and ``teacher`` at one level, and the variances that squared errors are shares of."""

    def __init__(self, student: int, teacher: int, message: int) -> None:
        super().__init__()
        self.student = Codec(student, message)
        self.teacher = Codec(teacher, message)
        for name in ("student", "teacher", "message"):
            self.register_buffer(f"variance_of_{name}", torch.ones(()))

    @classmethod
    def fit(cls, student: Tensor, teacher: Tensor, message: int) -> Codecs:
        """Return codecs in closed form for the states of both models, (states, width), of at most ``message``.

        The teacher's message are its principal directions. The student's encoder is the ridge solution to the teacher's
        message, and its decoder the ridge solution back.
        """
        mean = teacher.mean(dim=0)
        directions = torch.linalg.svd(teacher - mean, full_matrices=False)[2][:message]
        codecs = cls(student.shape[1], teacher.shape[1], len(directions))
        set_linear(codecs.teacher.encode, _linear(directions, -directions @ mean))
        set_linear(codecs.teacher.decode, _linear(directions.T, mean))
        with torch.no_grad():
            messages = codecs.teacher.encode(teacher)
            start_linear(codecs.student.encode, student, messages)
            start_linear(codecs.student.decode, codecs.student.encode(student), student)
        for name, states in (("student", student), ("teacher", teacher), ("message", messages)):
            getattr(codecs, f"variance_of_{name}").copy_(states.var(dim=0, correction=0).sum().clamp(min=TINY))
        return codecs

    def apart(self, one: Tensor, other: Tensor, name: str) -> Tensor:
        """Return the squared distance of states or messages over the variance of ``name``, without their last axis."""
        return (one - other).square().sum(dim=-1) / getattr(self, f"variance_of_{name}")

    def kept(self, states: Tensor, name: Literal["student", "teacher"]) -> Tensor:
        """Return the share of the variance of ``states`` that the codec of ``name`` loses; no gradient to them."""
        codec, states = getattr(self, name), states.detach()
        return self.apart(codec.decode(codec.encode(states)), states, name)


def mean_of_tokens(losses: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``losses`` (rows, length) over the tokens of each text, where ``mask`` is 1, (rows,)."""
    return (losses * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def _understood(codecs: Codecs, taught: Tensor) -> Tensor:
    """Return what the student makes of the teacher's message about its states ``taught``."""
    return codecs.student.decode(codecs.teacher.encode(taught))


def _layer(depth: int, share: float) -> int:
    """Return the number of layers before the low states, at least one, and at most all but one."""
    return min(max(1, round(share * depth)), max(1, depth - 1))


def _live(setting: Setting) -> Live:
    if setting.live is None:
        raise TypeError("this training has no live teacher; talking must need 'live'")
    return setting.live


def _chunks(rows: Any) -> list[Any]:
    return [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]


def _linear(weight: Tensor, bias: Tensor) -> Linear:
    return Linear(weight=weight.contiguous().numpy(), bias=bias.numpy(), penalty=0.0)
