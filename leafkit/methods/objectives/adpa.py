"""ADPA: the student learns how an aligned teacher differs from the teacher, on lists that the student retrieves.

Paper: https://arxiv.org/abs/2502.17927

    A    = log p_aligned - log p_reference,    p = softmax of a query's cosines with the documents of a list
    ADPA = NLL(gold) - gamma sum_d q(d) A(d), on the documents that the student retrieves
    DCKD = NLL(gold) + alpha [KL(p_aligned || q) around a gold document + KL(p_aligned || q) around a wrong one]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from leafkit.methods.candidates import (
    answer_mask,
    check_lists,
    fit_candidates,
    gold_cross_entropy,
    listed_cosines,
    nearest,
    numbered_pairs,
    unit_targets,
)
from leafkit.methods.divergences import kl_of_logits
from leafkit.methods.method import Objective

if TYPE_CHECKING:
    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Facts, Setting

# The smallest probability in an advantage (paper).
LEAST = 1e-7
# The fit of the aligned teacher: most steps, queries of a step, steps between two looks, learning rate, temperature.
STEPS, QUERIES, LOOK, RATE, TEMPERATURE = 400, 128, 25, 1e-3, 0.05
# The most queries that a look scores, so that their scores with all documents fit into memory.
HELD_OUT = 1000


@dataclass(frozen=True, kw_only=True)
class Adpa(Objective):
    """Add the paper's two losses for a teacher that was aligned with pairs: DCKD first, then ADPA.

    The aligned teacher is the teacher with a linear map of its query vectors, fitted to the pairs of query and
    document. Documents keep the teacher's vectors. Texts that are no query with a pair have no loss.

    ``weight``: multiplies the loss (ours 0.01, added to LEAF: logits of lists are steep, so that the gradient is about
    a third of LEAF's; the paper trains on this loss alone).
    ``dckd``: the share of the steps, from the first on, that train with DCKD: 0 is ADPA, 1 is DCKD, and a share between
    is the paper's ADPA+ (ours 0.5).
    ``gamma``: multiplies the advantage (paper: about 1.5; more than 3 is too much).
    ``alpha``: multiplies the divergences of DCKD (paper: 0.2).
    ``reference``: if false, the advantage is the log-probability of the aligned teacher alone, the paper's ablation.
    ``clip``: largest absolute advantage (ours 5).
    ``count``: length of a list (paper: the 50 largest probabilities).
    ``every``: number of steps between two searches of the student for its own lists; 0 searches once, with the student
    at the start, as in the paper (ours 200).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2502.17927"
    elicits: ClassVar[tuple[str, ...]] = ("labeling", "feedback")
    learns_by: ClassVar[tuple[str, ...]] = ("reinforcement learning", "divergence and similarity")
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "preference")
    small: ClassVar[Mapping[str, Any]] = {"count": 8, "every": 5}
    reconstruction: ClassVar[str] = (
        "the loss was read in the official training script, the rest in its documentation and in reviews; an action is "
        "a document of a list, not a token; a state is a query, so an answer has one step; the aligned teacher is a "
        "map of the teacher's query vectors fitted by a contrastive loss, not a model trained with DPO; the student's "
        "own lists are renewed during the training; DCKD's lists are the documents around the gold document and "
        "around the most similar wrong one; the advantage is clipped"
    )

    weight: float = 0.01
    dckd: float = 0.5
    gamma: float = 1.5
    alpha: float = 0.2
    reference: bool = True
    clip: float = 5.0
    count: int = 32
    every: int = 200

    def __post_init__(self) -> None:
        self.check_fields(
            {
                "dckd": (0 <= self.dckd <= 1, "0 to 1"),
                **{name: (0 <= getattr(self, name) < math.inf, "0 or more") for name in ("gamma", "alpha")},
                "clip": (0 < self.clip < math.inf, "more than 0"),
                "count": (self.count >= 2, "2 or more documents"),
                "every": (self.every >= 0, "0 or more steps"),
            }
        )

    @property
    def needs(self) -> frozenset[str]:
        """Pairs of query and document."""
        return frozenset({"pairs"})

    @property
    def refresh_every(self) -> int:
        """The field ``every``."""
        return self.every

    @property
    def remembers_texts(self) -> bool:
        """Whether lists are stored by row: always."""
        return True

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` for lists longer than the documents allow."""
        check_lists(facts, self.count, "adpa:count")

    def build(self, setting: Setting) -> nn.Module:
        """Return the lists and the aligned teacher.

        ``items`` are the lists with gold documents. ``change`` (dim, dim) maps a query vector of the teacher to what
        the alignment adds to it. ``own``, ``right`` and ``wrong`` (queries, count) are the lists that the student
        retrieves, and those around a gold and around a wrong document. ``start`` is the first step of ADPA.
        """
        state: Any = nn.Module()
        state.items = items = fit_candidates(setting, self.count)
        queries, pairs = numbered_pairs(setting)
        vectors = unit_targets(setting, queries)
        state.register_buffer("change", fit_alignment(vectors, items.documents, pairs, setting.seed))
        cosines = listed_cosines(vectors, items.documents, items.lists)
        for name, chosen in (("right", items.gold), ("wrong", ~items.gold)):
            best = cosines.masked_fill(~chosen, -torch.inf).argmax(dim=1, keepdim=True)
            centres = items.documents[items.lists.gather(1, best)[:, 0]]
            state.register_buffer(name, nearest(centres, items.documents, self.count))
        state.register_buffer("own", nearest(vectors, items.documents, self.count))
        state.start = round(self.dckd * setting.steps)
        return state

    def refresh(self, state: Any, setting: Setting, step: int) -> None:
        """Let the student search for its own lists, unless no step before the next refresh reads them."""
        if self.every and step + self.every <= state.start:
            return
        vectors = torch.from_numpy(setting.student(numpy.unique(setting.pairs[:, 0]))).to(state.own.device)
        state.own.copy_(nearest(normalize(vectors.float(), dim=-1), state.items.documents, self.count))

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the losses of each text, (rows,): ``nll``, and ``dckd`` or ``advantage`` by the step."""
        items, teacher = state.items, batch.teacher.detach().float()
        lines, listed = items.lines(batch.rows)
        nll = gold_cross_entropy(items.logits(batch.student, items.lists[lines]), items.gold[lines]) * listed
        aligned = teacher + teacher @ state.change.T
        if batch.step < state.start:
            lists = (state.right[lines], state.wrong[lines])
            divergences = [kl_of_logits(items.logits(aligned, one), items.logits(batch.student, one)) for one in lists]
            return {"nll": nll, "dckd": self.alpha * sum(divergences) * listed}
        own = state.own[lines]
        of_reference = items.logits(teacher, own) if self.reference else None
        gain = reward(items.logits(batch.student, own), advantage(items.logits(aligned, own), of_reference, self.clip))
        return {"nll": nll, "advantage": -self.gamma * gain * listed}


def advantage(aligned: Tensor, reference: Tensor | None, clip: float) -> Tensor:
    """Return log p_aligned - log p_reference of logits (rows, count), clipped; without reference log p_aligned."""
    logs = [
        logits.log_softmax(dim=-1).clamp(min=math.log(LEAST)) for logits in (aligned, reference) if logits is not None
    ]
    return (logs[0] - logs[1] if len(logs) > 1 else logs[0]).clamp(-clip, clip)


def reward(student: Tensor, advantages: Tensor) -> Tensor:
    """Return sum_d q(d) A(d), (rows,), with q = softmax of the logits ``student`` (rows, count)."""
    return (student.softmax(dim=-1) * advantages).sum(dim=-1)


def fit_alignment(queries: Tensor, documents: Tensor, pairs: Tensor, seed: int) -> Tensor:
    """Fit the map M (dim, dim) for which queries + M queries find their documents among all ``documents``.

    ``queries`` and ``documents`` are unit vectors (rows, dim), and ``pairs`` (pairs, 2) positions among them. The loss
    is the cross-entropy of the documents that answer, among all documents. M starts at 0, and of the maps of all looks
    the one with the lowest loss on held-out queries, a tenth but at most `HELD_OUT`, is returned.
    """
    dim = queries.shape[1]
    draw = numpy.random.default_rng([seed, 43])
    order = torch.from_numpy(draw.permutation(len(queries)))
    held_out, fitted = order.tensor_split([min(max(1, len(order) // 10), HELD_OUT)])
    change = torch.zeros(dim, dim)
    if not len(fitted):
        return change
    with torch.enable_grad():
        change.requires_grad_()
        optimiser = torch.optim.Adam([change], lr=RATE)
        best, lowest = change.detach().clone(), math.inf
        for step in range(STEPS + 1):
            if step % LOOK == 0:
                loss = float(_alignment_loss(change.detach(), queries, documents, pairs, held_out))
                if loss >= lowest:
                    break
                best, lowest = change.detach().clone(), loss
            some = fitted[torch.from_numpy(draw.permutation(len(fitted))[:QUERIES])]
            optimiser.zero_grad()
            _alignment_loss(change, queries, documents, pairs, some).backward()
            optimiser.step()
    return best


def _alignment_loss(change: Tensor, queries: Tensor, documents: Tensor, pairs: Tensor, lines: Tensor) -> Tensor:
    """Return the mean cross-entropy of the documents that answer the queries ``lines``, a scalar."""
    vectors = normalize(queries[lines] + queries[lines] @ change.T, dim=-1)
    answers = answer_mask(pairs, lines, len(documents))
    return gold_cross_entropy(vectors @ documents.T / TEMPERATURE, answers).mean()
