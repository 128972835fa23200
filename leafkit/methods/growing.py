"""The base class of feeds whose training texts grow in rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy

from leafkit.methods.method import Feed
from leafkit.methods.setting import Facts, Pool, Setting

if TYPE_CHECKING:
    from torch import nn

    from leafkit.types import Int64

# Separates the random numbers of these feeds from those of others.
STREAM = 13


@dataclass(frozen=True, kw_only=True)
class GrowingFeed(Feed):
    """Train on a set of texts that grows in rounds; subclasses override ``choose``.

    Texts that another method reserved are not picked.

    ``every``: number of steps between two rounds of picks; 0 keeps the first texts only.
    ``first``: number of texts drawn at random before step 0, at most the largest set.
    ``picks``: number of texts added in each round.
    ``share``: size of the largest set, as a share of the training texts; 1 disables the method.
    ``candidates``: largest number of texts that a round considers, drawn from the seed (ours).
    """

    off: ClassVar[Mapping[str, Any]] = {"share": 1.0}

    every: int = 15
    first: int = 100
    picks: int = 60
    share: float = 0.25
    candidates: int = 5000

    def __post_init__(self) -> None:
        self.check_fields(
            {
                "every": (self.every >= 0, "0 or more steps"),
                "first": (self.first >= 2, "2 or more texts"),
                "picks": (self.picks >= 1, "1 or more texts"),
                "share": (0 < self.share <= 1, "more than 0 and at most 1"),
                "candidates": (self.candidates >= self.picks, f"{self.picks} or more texts, the number of picks"),
            }
        )

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the largest set is below two texts."""
        texts = facts.texts
        self.check_fields({"share": (self._largest(texts) >= 2, f"a share of {texts} texts that is 2 texts or more")})

    def build(self, setting: Setting) -> nn.Module:
        """Return ``selected``, which marks the texts to train on, (texts,), and what `prepare` adds."""
        import torch

        selected = numpy.full(setting.texts, self.share == 1)
        state = torch.nn.Module()
        if self.share < 1:
            first = first_rows(setting.texts, self._first(setting.texts), setting.seed)
            rows = numpy.setdiff1d(first, setting.withheld)
            selected[rows] = True
            self.prepare(state, setting.restricted(rows))
        state.register_buffer("selected", torch.from_numpy(selected))
        return state

    def prepare(self, state: Any, first: Setting) -> None:
        """Add to ``state`` what `choose` needs; ``first`` is the setting of the first texts alone."""

    def refresh(self, state: Any, setting: Setting, step: int) -> None:
        """Add a round of picks; at step 0 the first texts are already chosen."""
        import torch

        selected = state.selected.cpu().numpy()
        most = min(self.picks, self._largest(setting.texts) - int(selected.sum()))
        if step == 0 or most <= 0:
            return
        left = setting.drawn[~selected[setting.drawn]]
        remaining = numpy.random.default_rng([setting.seed, step, STREAM]).permutation(left)
        rows = self.choose(state, setting, remaining[: self.candidates], most, step)
        state.selected[torch.from_numpy(rows).to(state.selected.device)] = True

    def choose(self, state: Any, setting: Setting, candidates: Int64, most: int, step: int) -> Int64:
        """Return at most ``most`` of the rows ``candidates``, which are in random order."""
        return candidates[:most]

    def feed(self, pool: Pool, state: Any) -> Pool:
        """Return the selected rows of ``pool``."""
        if self.share == 1:
            return pool
        chosen = state.selected.cpu().numpy()[pool.rows]
        return Pool(rows=pool.rows[chosen], weights=None if pool.weights is None else pool.weights[chosen])

    def _first(self, texts: int) -> int:
        return min(self.first, self._largest(texts))

    def _largest(self, texts: int) -> int:
        return round(self.share * texts)


def first_rows(texts: int, first: int, seed: int) -> Int64:
    """Return the ``first`` rows, ascending, that a training on ``texts`` texts asks the teacher about at its start."""
    return numpy.sort(numpy.random.default_rng([seed, STREAM]).permutation(texts)[:first])
