"""TRG: the words of a batch form a graph, and the student's words have the neighbours of the teacher's words.

Paper: https://arxiv.org/abs/2306.12442

    A_ij = exp(-|x_i - x_j|^2 / (2 sigma)) if j is among the k nearest of i, else 0, for sampled words i, j of the batch
    local  = KL(softmax_j A^S_ij || softmax_j A^T_ij)
    global = -log softmax_j(cos(S_i, T_j) / tau)[i] after linear maps to a common width; tau falls during training
    inner  = squared distance of the rows of softmax(F F^T / sqrt(width)), for the words F of one text
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy
import torch
from torch import nn
from torch.nn.functional import normalize

from leafkit.errors import OptionError
from leafkit.methods.anchors import fit_temperature
from leafkit.methods.batch import require_tokens
from leafkit.methods.closed_form import start_linear
from leafkit.methods.divergences import kl_of_logits
from leafkit.methods.method import Objective
from leafkit.students.head import Linear, set_linear

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.batch import Batch, TokenStates
    from leafkit.methods.setting import Facts, Setting

# The texts whose token states the closed-form maps are fitted to.
SAMPLE = 128
# Stands for minus infinity in a softmax; a row of nothing else stays finite.
NEVER = -1e9


@dataclass(frozen=True, kw_only=True)
class Trg(Objective):
    """Match the relations between words: within a text, among neighbours in the batch, and across both models.

    The states are those after the last layer. Special tokens and padding take no part. The head of the student is not
    trained by these terms, so the method cannot train alone. The maps to the common width are trained beside the
    student and not exported.

    ``weight``: multiplies all terms (ours 0.1, added to LEAF).
    ``inner_weight``: factor of ``inner``. ``local_weight``: factor of ``local``. ``global_weight``: factor of
    ``global`` (ours 1 each).
    ``instance_weight``: factor of ``instance``, a KL divergence between the similarities of the texts of the batch;
    alone it is the control that has no words (ours 0).
    ``words``: number of words drawn from each text at each step for ``local`` and ``global`` (ours 6).
    ``neighbours``: k, the nearest words that the graph keeps (ours 8).
    ``restrict``: if true, the softmax of ``local`` runs over the nearest words of either side only, since over all
    words it is nearly uniform (ours).
    ``sharpness``: multiplies A in the softmax of ``local`` (ours 10; 1 as the formula is written).
    ``warm``: tau of ``global`` at the first step (ours 0.5). ``cold``: tau at the last step (ours 0.07); between both
    it falls as a half cosine.
    ``common``: common width of both sides for ``global``, at most that of their states (ours 64).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2306.12442"
    elicits: ClassVar[tuple[str, ...]] = ("feature",)
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("understanding",)
    reconstruction: ClassVar[str] = (
        "reconstructed from one summary with formulas; words replace patches of an image; k, sigma (here the median "
        "squared distance of each side), the number of words, the factors, tau and its schedule, and the direction of "
        "the KL divergence are not confirmed; LEAF replaces the loss of logits; the inner term sums over a row and is "
        "the mean over the rows, so that long texts do not lose it; the maps to the common width start in closed form"
    )
    cannot_train_alone: ClassVar[bool] = True

    weight: float = 0.1
    inner_weight: float = 1.0
    local_weight: float = 1.0
    global_weight: float = 1.0
    instance_weight: float = 0.0
    words: int = 6
    neighbours: int = 8
    restrict: bool = True
    sharpness: float = 10.0
    warm: float = 0.5
    cold: float = 0.07
    common: int = 64

    def __post_init__(self) -> None:
        factors = ("inner_weight", "local_weight", "global_weight", "instance_weight")
        checks = {name: (0 <= getattr(self, name) < math.inf, "0 or more") for name in factors}
        checks |= {name: (getattr(self, name) >= 1, "1 or more") for name in ("words", "neighbours", "common")}
        checks |= {name: (0 < getattr(self, name) < math.inf, "more than 0") for name in ("sharpness", "warm", "cold")}
        self.check_fields(checks)
        if not any(getattr(self, name) for name in factors):
            raise OptionError("trg has no term, because all of its factors are 0. Raise one, or remove trg.")

    @property
    def needs(self) -> frozenset[str]:
        """The token states, unless ``instance`` is the only term."""
        return frozenset({"tokens"} if self.inner_weight or self.local_weight or self.global_weight else ())

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` for batches of one text, in which ``instance`` compares nothing."""
        if self.instance_weight and min(facts.batch_size, facts.texts) < 3:
            raise OptionError(f"trg:instance_weight needs batches of 3 or more texts; got {facts.batch_size}.")

    def build(self, setting: Setting) -> nn.Module:
        """Return the maps ``student`` and ``teacher`` to the common width, and the ``temperature`` of ``instance``."""
        state: Any = nn.Module()
        state.steps = setting.steps
        if self.global_weight:
            states = require_tokens(setting.batch(setting.sample(SAMPLE)))
            state.student, state.teacher = common_maps(states, self.common)
        if self.instance_weight:
            rows = setting.sample(setting.batch_size)
            cosines = other_cosines(torch.from_numpy(setting.targets(rows)))
            state.register_buffer("temperature", torch.tensor(fit_temperature(cosines)))
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return ``inner``, ``local``, ``global`` and ``instance`` of each text, (rows,), as far as they are used."""
        terms = {}
        if self.inner_weight:
            terms["inner"] = self.inner_weight * inner(require_tokens(batch))
        if self.local_weight or self.global_weight:
            terms |= self._graph_terms(batch, state)
        if self.instance_weight:
            sides = (other_cosines(vectors.float()) for vectors in (batch.teacher.detach(), batch.student))
            logits = [cosines / state.temperature for cosines in sides]
            terms["instance"] = self.instance_weight * kl_of_logits(logits[0], logits[1])
        return terms

    def tau(self, step: int, steps: int) -> float:
        """Return the temperature of ``global`` at ``step`` of ``steps``."""
        done = min(1.0, step / max(1, steps - 1))
        return self.cold + (self.warm - self.cold) * (1 + math.cos(math.pi * done)) / 2

    def _graph_terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        tokens = require_tokens(batch)
        owners, places = self.sampled(batch, tokens.mask)
        student, teacher = (side[owners, places].float() for side in (tokens.student, tokens.teacher.detach()))
        of_words = {}
        if self.local_weight:
            of_words["local"] = self.local_weight * self.local(student, teacher)
        if self.global_weight:
            tau = self.tau(batch.step, state.steps)
            of_words["global"] = self.global_weight * contrast(state.student(student), state.teacher(teacher), tau)
        return {name: mean_of_texts(losses, owners, len(batch.rows)) for name, losses in of_words.items()}

    def sampled(self, batch: Batch, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the text and the position of the drawn words, (words,) each; a text draws the same in any batch."""
        owners: list[int] = []
        places: list[int] = []
        for owner, (row, words) in enumerate(zip(batch.rows.tolist(), mask.cpu().numpy(), strict=True)):
            draw = numpy.random.default_rng([batch.seed, batch.step, row])
            chosen = draw.permutation(numpy.flatnonzero(words))[: self.words]
            owners += [owner] * len(chosen)
            places += chosen.tolist()
        device = mask.device
        return torch.tensor(owners, device=device, dtype=torch.long), torch.tensor(
            places, device=device, dtype=torch.long
        )

    def local(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the divergence of each word's neighbours, (words,), for states (words, width) of both sides."""
        (own, near), (expected, near_teacher) = (graph(side, self.neighbours) for side in (student, teacher))
        allowed = near | near_teacher
        if not self.restrict:
            allowed = ~torch.eye(len(allowed), dtype=torch.bool, device=allowed.device)
        logits = [(self.sharpness * side).masked_fill(~allowed, NEVER) for side in (own, expected)]
        return kl_of_logits(logits[0], logits[1])


def graph(states: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Return A, (words, words), of ``states`` (words, width), and which words are among the nearest of each word."""
    lengths = states.square().sum(dim=-1)
    squares = (lengths[:, None] + lengths - 2 * states @ states.T).clamp(min=0)
    itself = torch.eye(len(states), dtype=torch.bool, device=states.device)
    near = torch.zeros_like(itself)
    most = min(neighbours, len(states) - 1)
    if most < 1:
        return torch.zeros_like(squares), near
    nearest = squares.detach().masked_fill(itself, math.inf).topk(most, largest=False).indices
    near.scatter_(1, nearest, True)
    sigma = squares.detach()[~itself].median().clamp(min=torch.finfo(squares.dtype).tiny)
    return torch.exp(-squares / (2 * sigma)) * near, near


def contrast(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    """Return the InfoNCE loss of each word, (words,), for mapped states (words, common)."""
    scores = normalize(student, dim=-1) @ normalize(teacher, dim=-1).T / tau
    return scores.logsumexp(dim=1) - scores.diagonal()


def inner(tokens: TokenStates) -> Tensor:
    """Return the mean over the words of a text of the squared distance of their rows of attention, (rows,)."""
    words = tokens.mask
    matrices = []
    for side in (tokens.student, tokens.teacher.detach()):
        scores = side.float() @ side.float().mT / side.shape[-1] ** 0.5
        matrices.append(scores.masked_fill(~words[:, None], NEVER).softmax(dim=-1))
    squares = (matrices[0] - matrices[1]).square().sum(dim=-1) * words
    return squares.sum(dim=1) / words.sum(dim=1).clamp(min=1)


def mean_of_texts(losses: Tensor, owners: Tensor, rows: int) -> Tensor:
    """Return the mean of the ``losses`` (words,) of each of ``rows`` texts, (rows,); 0 for a text without words."""
    sums = losses.new_zeros(rows).index_add(0, owners, losses)
    return sums / torch.bincount(owners, minlength=rows).clamp(min=1)


def other_cosines(vectors: Tensor) -> Tensor:
    """Return the cosines of each of ``vectors`` (rows, dim) with the others, (rows, rows - 1)."""
    unit = normalize(vectors, dim=-1)
    rows = len(unit)
    others = ~torch.eye(rows, dtype=torch.bool, device=unit.device)
    return (unit @ unit.T)[others].reshape(rows, rows - 1)


def common_maps(states: TokenStates, common: int) -> tuple[nn.Linear, nn.Linear]:
    """Return maps of the student's and of the teacher's states to at most ``common`` dimensions.

    The teacher's are its principal directions; the student's are the closed-form solution towards them.
    """
    student, teacher = (side.detach()[states.mask].float().cpu() for side in (states.student, states.teacher))
    mean = teacher.numpy().mean(axis=0)
    directions = numpy.linalg.svd(teacher.numpy() - mean, full_matrices=False)[2][: min(common, student.shape[1])]
    expected = Linear(weight=directions, bias=-directions @ mean, penalty=0.0)
    of_student, of_teacher = (nn.Linear(side.shape[1], len(directions)) for side in (student, teacher))
    start_linear(of_student, student, torch.from_numpy(expected.apply(teacher.numpy())))
    set_linear(of_teacher, expected)
    return of_student, of_teacher
