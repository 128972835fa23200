"""KD^3: learn from crawled texts, of which teacher and student together are confident, and from shifted views of them.

Paper: https://arxiv.org/abs/2307.11469

    p(x) = (p_T(x) + p_S(x)) / 2,  y(x) = argmax p(x),  c(x) = max p(x);  selected: c(x) >= the rho-quantile of its y(x)
    shared:   KL(p_T || p_S), both from the teacher's frozen head, here the anchors
    aligned:  c(x) / mean c * sum_j omega_j (s_j - t_j)^2,  omega_j = variance between / variance within anchors, mean 1
    contrast: InfoNCE of x with its view x~ = sd~ (x - mu) / sd + mu~,  with mu~ = lambda mu + (1 - lambda) mu',
              sd~ = lambda sd + (1 - lambda) sd',  lambda ~ Beta(a, a),  for mean and deviation of the token embeddings
              of a text and of another text (') of the batch
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError
from leafkit.methods.anchors import AnchorKind, anchor_needs, check_anchor_fields, check_anchors, fit_anchors
from leafkit.methods.divergences import kl_of_logits
from leafkit.methods.method import Feed
from leafkit.methods.setting import Pool

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.methods.batch import Batch, View
    from leafkit.methods.setting import Facts, Setting
    from leafkit.types import Int64

Float64 = NDArray[numpy.float64]

logger = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class Kd3(Feed):
    """Train on the texts that fit the teacher's classes, with its head shared, and make vectors proof to style.

    Suits texts that were crawled, most of them outside the domain. The classes are those of the anchors: with
    ``anchors=labels``, a few labelled texts of the domain define them. Confident texts are also easy texts, so look at
    the confidence and the share of each domain that the log reports at each selection.

    ``weight``: multiplies all three losses, which are added to LEAF.
    ``every``: number of steps between two selections; 0 selects once, before the first step (paper: each epoch).
    ``rho``: share of the texts of each predicted class that is left out, the least confident (reconstruction: 0.5); 0
    keeps all.
    ``shared``: multiplies the loss of the shared head (reconstruction: 1; ours 0.1, as LEAF is there).
    ``aligned``: multiplies the aligned loss (reconstruction: 1).
    ``contrast``: multiplies the contrastive loss (reconstruction: 0.1); 0 adds no views, which halves the time.
    ``temperature``: divides the cosines of the contrastive loss (ours 0.05).
    ``beta``: a of the Beta distribution of lambda (ours 1).
    ``candidates``: largest number of texts that a selection considers, drawn from the seed (ours).
    ``anchors``: kind of the anchors that replace classes (ours). ``count``: number of anchors; ignored with
    ``anchors=labels`` (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2307.11469"
    elicits: ClassVar[tuple[str, ...]] = ("curation", "feature")
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    off: ClassVar[Mapping[str, Any]] = {"rho": 0.0, "weight": 0.0}
    reconstruction: ClassVar[str] = (
        "the paper's abstract and a summary name the three parts; the quantiles, the feature weights, the mixing and "
        "the weights of the losses are reconstructed; anchors fitted to the training texts replace classes and the "
        "teacher's head; statistics are those of the student's token embeddings, without gradient; LEAF is kept, also "
        "on the shifted views, whose target stays that of the text"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8, "every": 5}

    every: int = 100
    rho: float = 0.5
    shared: float = 0.1
    aligned: float = 1.0
    contrast: float = 0.1
    temperature: float = 0.05
    beta: float = 1.0
    candidates: int = 20_000
    anchors: AnchorKind = "clusters"
    count: int = 64

    def __post_init__(self) -> None:
        losses = ("shared", "aligned", "contrast")
        self.check_fields(
            {
                "every": (self.every >= 0, "0 or more steps"),
                "rho": (0 <= self.rho < 1, "0 to less than 1"),
                **{name: (0 <= getattr(self, name) < math.inf, "0 or more") for name in losses},
                **{name: (0 < getattr(self, name) < math.inf, "more than 0") for name in ("temperature", "beta")},
                "candidates": (self.candidates >= 1, "1 or more texts"),
                **check_anchor_fields(self.anchors, self.count),
            }
        )

    @property
    def needs(self) -> frozenset[str]:
        """The labels, for anchors that are classes."""
        return anchor_needs(self.anchors)

    @property
    def remembers_texts(self) -> bool:
        """Whether the selection is stored by row: always."""
        return True

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` for anchors that cannot be fitted, and for shifted views of a token table."""
        if self._is_on:
            check_anchors(facts, self.anchors, self.count)
        if self._adds_views and facts.depth == 0:
            raise OptionError(
                "kd3 shifts the token embeddings below the first layer, but a token table has no layers. Set "
                "kd3:contrast=0 or choose a transformer as student."
            )

    @property
    def _is_on(self) -> bool:
        return self.weight > 0 or self.rho > 0

    @property
    def _adds_views(self) -> bool:
        return self.weight > 0 and self.contrast > 0

    def build(self, setting: Setting) -> nn.Module:
        """Return the ``anchors``, the ``importance`` omega (dim,) and ``selected``, the texts to draw, (texts,)."""
        import torch

        state = torch.nn.Module()
        state.register_buffer("selected", torch.ones(setting.texts, dtype=torch.bool))
        if self._is_on:
            state.anchors = fit_anchors(setting, self.anchors, self.count)
            rows = setting.sample(self.candidates)
            vectors = torch.from_numpy(setting.targets(rows))
            state.register_buffer("importance", importance(vectors, state.anchors.logits(vectors).argmax(dim=-1)))
        return state

    def refresh(self, state: Any, setting: Setting, step: int) -> None:
        """Select the texts that the next steps draw from."""
        import torch

        if self.rho == 0:
            return
        draw = numpy.random.default_rng([setting.seed, step, 37])
        rows = draw.permutation(setting.drawn)[: self.candidates]
        vectors = (torch.from_numpy(vectors_of(rows)) for vectors_of in (setting.targets, setting.student))
        device = state.selected.device
        teacher, student = (torch.softmax(state.anchors.logits(some.to(device)), dim=-1) for some in vectors)
        confidence, predicted = combined(teacher, student)
        kept = rows[select(confidence.double().cpu().numpy(), predicted.cpu().numpy(), self.rho)]
        state.selected.zero_()[torch.from_numpy(kept).to(device)] = True
        domains = numpy.bincount(setting.domains[kept]) / len(kept)
        shares = ", ".join(f"{share:.2f}" for share in domains)
        mean = float(confidence.mean())
        logger.info("kd3: step %d: %d texts, confidence %.3f, shares of the domains %s", step, len(kept), mean, shares)

    def feed(self, pool: Pool, state: Any) -> Pool:
        """Return the selected rows of ``pool``."""
        if self.rho == 0:
            return pool
        chosen = state.selected.cpu().numpy()[pool.rows]
        return Pool(rows=pool.rows[chosen], weights=None if pool.weights is None else pool.weights[chosen])

    def views(self, view: View, state: Any) -> View:
        """Return ``view`` followed by a shifted view of each of its texts, with the same targets."""
        import torch

        if not self._adds_views:
            return view
        count = len(view.rows)
        draw = numpy.random.default_rng([view.seed, view.step, 41])
        order = numpy.argsort(view.rows.cpu().numpy(), kind="stable")
        partner = numpy.empty(count, dtype=numpy.int64)
        partner[order] = order[draw.permutation(count)]
        ratio = torch.from_numpy(draw.beta(self.beta, self.beta, count))
        mask, before = view.features["attention_mask"].bool(), view.embed

        def embed(embeddings: Tensor) -> Tensor:
            embeddings = embeddings if before is None else before(embeddings)
            places, words = torch.from_numpy(partner).to(embeddings.device), mask.to(embeddings.device)
            mixed = mix_distribution(embeddings[:count], words, places, ratio)
            return torch.cat([embeddings[:count], mixed, embeddings[2 * count :]])

        twice = {name: torch.cat([value, value]) for name, value in vars(view).items() if name in _BY_ROW}
        features = {name: torch.cat([value, value]) for name, value in view.features.items()}
        return dataclasses.replace(view, **twice, features=features, embed=embed)

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the losses ``shared``, ``aligned`` and ``contrast`` of each text and view, (rows,), if they are on."""
        if self.weight == 0:
            return {}
        teacher, student = (state.anchors.logits(vectors) for vectors in (batch.teacher.detach(), batch.student))
        losses = {}
        if self.shared:
            losses["shared"] = self.shared * kl_of_logits(teacher, student)
        if self.aligned:
            confidence, _ = combined(teacher.softmax(dim=-1), student.detach().softmax(dim=-1))
            errors = (batch.student.float() - batch.teacher.detach().float()).square() @ state.importance
            losses["aligned"] = self.aligned * confidence / confidence.mean() * errors
        if self.contrast:
            losses["contrast"] = self.contrast * info_nce(batch.student.float(), batch.origin, self.temperature)
        return losses


_BY_ROW = ("teacher", "roles", "rows", "labels", "domains", "origin")


def combined(teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
    """Return confidence and class, (rows,) each, of the mean of two arrays of probabilities, (rows, count)."""
    confidence, predicted = ((teacher + student) / 2).max(dim=-1)
    return confidence, predicted


def select(confidence: Float64, predicted: Int64, rho: float) -> Int64:
    """Return the positions whose ``confidence`` is at least the ``rho``-quantile of all with the same class.

    ``confidence`` and the classes ``predicted`` are (rows,). At least one text of each predicted class is selected.
    """
    kept = numpy.zeros(len(confidence), dtype=bool)
    for label in numpy.unique(predicted):
        rows = numpy.flatnonzero(predicted == label)
        kept[rows] = confidence[rows] >= numpy.quantile(confidence[rows], rho)
    return numpy.flatnonzero(kept)


def importance(vectors: Tensor, classes: Tensor) -> Tensor:
    """Return the variance between classes over that within classes of each dimension, scaled to mean 1, (dim,).

    ``vectors`` are (texts, dim) and ``classes`` (texts,). The result is 1 where no class has two texts that differ.
    """
    import torch

    count = int(classes.max()) + 1
    sizes = torch.bincount(classes, minlength=count)[:, None].to(vectors.dtype)
    means = torch.zeros(count, vectors.shape[1]).index_add_(0, classes, vectors) / sizes.clamp(min=1)
    within = (vectors - means[classes]).square().mean(dim=0)
    between = ((means - vectors.mean(dim=0)).square() * sizes).sum(dim=0) / len(vectors)
    if not bool(within.sum() > 0) or not bool(between.sum() > 0):
        return torch.ones(vectors.shape[1])
    ratio = between / within.clamp(min=1e-6 * float(within.mean()))
    return ratio / ratio.mean()


def mix_distribution(embeddings: Tensor, mask: Tensor, partner: Tensor, ratio: Tensor) -> Tensor:
    """Return ``embeddings`` (rows, length, width) with mean and deviation over the tokens mixed with a partner's.

    ``mask`` (rows, length) is True for tokens. ``partner`` (rows,) is the position of the other text and ``ratio``
    (rows,) the share lambda of the text's own statistics; 1 changes nothing. Each channel has statistics of its own,
    and no gradient flows through them.
    """
    wide = embeddings if embeddings.dtype.itemsize > 2 else embeddings.float()
    own, fixed = mask[:, :, None].to(wide.dtype), wide.detach()
    sizes = own.sum(dim=1, keepdim=True)
    mean = (fixed * own).sum(dim=1, keepdim=True) / sizes
    deviation = (((fixed - mean) * own).square().sum(dim=1, keepdim=True) / sizes).sqrt()
    share = ratio.to(wide)[:, None, None]
    new_mean = share * mean + (1 - share) * mean[partner]
    new_deviation = share * deviation + (1 - share) * deviation[partner]
    # A channel without deviation, such as that of a text of one token, has nothing to stretch.
    scale = (new_deviation / deviation).where(deviation > 0, 1.0)
    return embeddings.where(share == 1, ((wide - mean) * scale + new_mean).to(embeddings.dtype))


def info_nce(vectors: Tensor, origin: Tensor, temperature: float) -> Tensor:
    """Return the contrastive loss of each text with its view and of each view with its text, (rows,).

    ``vectors`` (rows, dim) are the texts of a step, followed by views of them. ``origin`` (rows,) is the position of
    the text of each view. A text competes with the other texts for its view, and a view with the other views. A text
    without a view has no loss.
    """
    import torch
    from torch.nn.functional import cross_entropy, normalize

    texts = int((origin == torch.arange(len(origin), device=origin.device)).sum())
    unit, of_view = normalize(vectors, dim=-1), origin[texts:]
    scores = unit[:texts] @ unit[texts:].T / temperature
    losses = vectors.new_zeros(len(vectors))
    if not len(of_view):
        return losses
    places = torch.arange(len(of_view), device=origin.device)
    of_texts = cross_entropy(scores[of_view], places, reduction="none")
    of_views = cross_entropy(scores.T, of_view, reduction="none")
    return losses.index_add(0, of_view, of_texts).index_add(0, places + texts, of_views)
