"""DDK: draw more texts from the domains in which the student is furthest from the teacher.

Paper: https://arxiv.org/abs/2407.16154

    r_0[i]     = softmax_i(rho[i])
    psi[i]     = r_t[i] exp(sharpness rho[i])
    r_t+1[i]   = alpha psi[i] / sum(psi) + (1 - alpha) / N

with N domains. In the paper, the discrepancy rho[i] is the ratio of the perplexities of student and teacher. Here,
rho[i] = P[i] / P_reference[i], where P[i] is the mean squared distance of student and teacher on probes of domain i.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy

from leafkit.errors import OptionError
from leafkit.methods.method import Feed
from leafkit.methods.setting import Facts, Pool, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.types import Int64

# The largest discrepancy.
MOST = 4.0


@dataclass(frozen=True, kw_only=True)
class Ddk(Feed):
    """Draw from each domain in proportion to its discrepancy, measured on probe texts that are never trained on.

    ``every``: number of steps between two measurements; 0 disables the method (ours 100, for a few thousand steps; the
    paper measures every 1000 of 30,000 steps, that is 30 times).
    ``alpha``: share of the draws that follows the discrepancy, 0 to 1 (paper: 0.5). The rest is spread evenly, so no
    domain falls below (1 - alpha) / N. 1 is the paper's ablation without smoothing; 0 draws all domains equally.
    ``sharpness``: multiplies the discrepancy (paper: 1; ours 8). A ratio of perplexities spreads over several units,
    but the ratio of distances lies between 0 and 1: with 1, all shares stay within a few percent.
    ``cap``: largest share of one domain, above 0.5 and at most 1; the excess goes to the others in proportion (ours).
    ``probes``: largest number of probe texts of a domain, and at most a tenth of the domain (paper: 500).
    ``least``: domains with fewer texts than this are merged into one; at least 10, so that each has a probe (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2407.16154"
    elicits: ClassVar[tuple[str, ...]] = ("feedback",)
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    off: ClassVar[Mapping[str, Any]] = {"every": 0}
    reconstruction: ClassVar[str] = (
        "an embedding model has no perplexity, and the teacher's distance to itself is 0, so the discrepancy is the "
        "student's squared distance over its distance at step 0 on the same probes, at most 4, times a "
        "sharpness; the loss is LEAF; "
        "the cap, the merging of small domains and the probes taken from the training texts are ours; there is no "
        "early stopping"
    )
    small: ClassVar[Mapping[str, Any]] = {"every": 5}

    every: int = 100
    alpha: float = 0.5
    sharpness: float = 8.0
    cap: float = 0.6
    probes: int = 64
    least: int = 20

    def __post_init__(self) -> None:
        checks = {
            "every": (self.every >= 0, "0 or more steps"),
            "alpha": (0 <= self.alpha <= 1, "0 to 1"),
            "sharpness": (0 <= self.sharpness < math.inf, "0 or more"),
            "cap": (0.5 < self.cap <= 1, "more than 0.5 and at most 1"),
            "probes": (self.probes >= 1, "1 or more texts"),
            "least": (self.least >= 10, "10 or more texts"),
        }
        self.check_fields(checks)

    @property
    def needs(self) -> frozenset[str]:
        """The sources of the texts."""
        return frozenset({"domains"})

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` unless at least two domains have enough texts."""
        if self.every and int(merge_domains(facts.domains, self.least).max()) < 1:
            raise OptionError(
                f"ddk found only one domain with {self.least} or more texts. Provide texts of several sources, or "
                "lower ddk:least."
            )

    def build(self, setting: Setting) -> nn.Module:
        """Return the state of the feed.

        Buffers: ``domain`` and ``reserved`` (true for probes) of each text, ``share`` r and ``reference`` P of each
        domain.
        """
        import torch

        domain = merge_domains(setting.domains, self.least)
        count = int(domain.max()) + 1
        draw = numpy.random.default_rng([setting.seed, 7])
        reserved = numpy.zeros(len(domain), dtype=bool)
        for place in range(count if self.every else 0):
            rows = numpy.flatnonzero(domain == place)
            reserved[draw.permutation(rows)[: min(self.probes, len(rows) // 10)]] = True
        state = torch.nn.Module()
        state.register_buffer("domain", torch.from_numpy(domain))
        state.register_buffer("reserved", torch.from_numpy(reserved))
        state.register_buffer("share", torch.full((count,), 1 / count, dtype=torch.float64))
        state.register_buffer("reference", torch.ones(count, dtype=torch.float64))
        return state

    def refresh(self, state: Any, setting: Setting, step: int) -> None:
        """Measure the distance in all domains on their probes; step 0 stores the reference."""
        import torch

        if not self.every:
            return
        rows = numpy.flatnonzero(state.reserved.cpu().numpy())
        domain = state.domain.cpu()[rows]
        error = torch.from_numpy(setting.student(rows)).double() - torch.from_numpy(setting.targets(rows)).double()
        sums = torch.zeros(len(state.share), dtype=torch.float64).index_add_(0, domain, error.square().sum(dim=-1))
        distance = sums / torch.bincount(domain, minlength=len(sums))
        if step == 0:
            state.reference.copy_(distance)
            state.share.copy_(torch.softmax(torch.ones_like(sums), dim=0))
            return
        ratio = (distance / state.reference.cpu().clamp(min=1e-12)).clamp(max=MOST)
        state.share.copy_(next_share(state.share.cpu(), self.sharpness * ratio, self.alpha, self.cap))

    def feed(self, pool: Pool, state: Any) -> Pool:
        """Return all rows but the probes, with weights that sum to the share of each domain."""
        if not self.every:
            return pool
        trained = ~state.reserved.cpu().numpy()[pool.rows]
        rows = pool.rows[trained]
        before = numpy.ones(len(rows)) if pool.weights is None else pool.weights[trained]
        share, domain = state.share.cpu().numpy(), state.domain.cpu().numpy()[rows]
        sums = numpy.bincount(domain, before, minlength=len(share))
        return Pool(rows=rows, weights=before * (share / numpy.where(sums > 0, sums, 1))[domain])


def next_share(share: Tensor, ratio: Tensor, alpha: float, cap: float) -> Tensor:
    """Return the next share of each domain, (domains,), from its current ``share`` and its discrepancy ``ratio``."""
    import torch

    smoothed = alpha * torch.softmax(share.log() + ratio, dim=0) + (1 - alpha) / len(share)
    # Only one domain can have more than half, so the excess is passed on in one round.
    above = smoothed > cap
    if not above.any():
        return smoothed
    return torch.where(above, cap, smoothed * (1 - cap) / smoothed[~above].sum())


def merge_domains(domains: Int64, least: int) -> Int64:
    """Return the domain of each text, numbered from 0, (texts,), with small domains merged.

    Domains of fewer than ``least`` texts are merged into one. If that one is still too small, the next smallest domain
    joins, and so on.
    """
    place, count = numpy.unique(domains, return_inverse=True, return_counts=True)[1:]
    order = numpy.argsort(count, kind="stable")
    together = int((count < least).sum())
    while 0 < together < len(count) and count[order[:together]].sum() < least:
        together += 1
    target = numpy.arange(len(count))
    target[order[:together]] = order[0]
    return numpy.unique(target, return_inverse=True)[1][place].astype(numpy.int64)
