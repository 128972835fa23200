"""The methods of a plan at work in a training: what they built, their losses, their choice of texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor, nn

from leafkit.errors import OptionError
from leafkit.methods.plan import Plan
from leafkit.methods.registry import method_name
from leafkit.methods.setting import Pool, Setting
from leafkit.training.batches import batches_from, drawn_batches
from leafkit.training.checkpoint import moments, set_moments
from leafkit.training.optimiser import adamw
from leafkit.training.recipe import Recipe

if TYPE_CHECKING:
    from leafkit.methods.batch import Batch, View
    from leafkit.methods.method import StepMethod
    from leafkit.types import Int64


class Companions:
    """The states of all methods of ``plan``, built for ``setting``, and what they do in each step.

    ``states`` holds a module for each method, in the plan's order, and ``fed``, the step at which the feeds last
    looked at the student (-1 before); its parameters are trained by ``optimiser`` (None if there are none) as the
    student's are.
    """

    def __init__(self, plan: Plan, setting: Setting, recipe: Recipe, device: torch.device) -> None:
        """Build every method under a random state of its own, so that none disturbs another or the student."""
        self.plan = plan
        self.setting = setting
        self.states: Any = nn.Module()
        self.states.register_buffer("fed", torch.tensor(-1))
        # A list, since a module's own attributes are no names for others.
        self.states.methods = nn.ModuleList(self._built(method, device) for method in plan.step_methods.values())
        self._states = dict(zip(plan.step_methods, self.states.methods, strict=True))
        trained = any(True for _ in self.states.parameters())
        decay, rate = recipe.weight_decay, recipe.learning_rate
        self.optimiser = adamw(self.states, learning_rate=rate, weight_decay=decay) if trained else None

    def _built(self, method: StepMethod, device: torch.device) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.setting.seed)
            return method.build(self.setting).to(device)

    def view(self, view: View) -> View:
        """What the student is to see of a step's texts."""
        for feed in self.plan.feeds:
            view = feed.views(view, self._state(feed))
        return view

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
        """The weighted loss of each text, (rows,), and each method's own terms by name, detached."""
        total: Tensor | None = None
        seen = {}
        for name, method in self.plan.step_methods.items():
            terms = method.terms(batch, self._states[name])
            for loss in terms.values():
                weighed = method.weight * loss
                total = weighed if total is None else total + weighed
            seen[name] = {key: loss.detach() for key, loss in terms.items()}
        if total is None:
            raise TypeError(f"none of {', '.join(self.plan.step_methods)} gives a loss")
        return total, seen

    @torch.no_grad()
    def tick(self, batch: Batch, seen: dict[str, dict[str, Tensor]]) -> None:
        """Let every method remember the step just made."""
        for name, method in self.plan.step_methods.items():
            method.after_step(batch, seen[name], self._states[name])

    def step(self, rate: float) -> None:
        """Train what the methods built, at ``rate``."""
        if self.optimiser is None:
            return
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad()

    def asked(self) -> int:
        """Of how many training texts the teacher was asked so far."""
        texts = self.setting.texts
        return min((feed.teacher_calls(texts, self._state(feed)) for feed in self.plan.feeds), default=texts)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All that a resumed run needs of the methods, by file name."""
        found = {"methods.safetensors": self.states.state_dict()}
        if self.optimiser is not None:
            found["methods-optimiser.safetensors"] = moments(self.states, self.optimiser)
        return found

    def restore(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Go on from what `tensors` gave."""
        self.states.load_state_dict(tensors["methods.safetensors"])
        if self.optimiser is not None:
            set_moments(self.states, self.optimiser, tensors["methods-optimiser.safetensors"])

    def batches(self, lengths: Int64, *, start: int, stop: int) -> Iterator[Int64]:
        """The rows of steps ``start`` to ``stop``, by the feeds' choice as the student comes along.

        Where no feed chooses, they are exactly those of a training without feeds.
        """
        size, seed = self.setting.batch_size, self.setting.seed
        step = start
        while step < stop:
            begin, end = self._segment(step, stop)
            everything = Pool(rows=numpy.arange(self.setting.texts))
            pool = self._pool(everything, begin)
            if pool is everything:
                yield from batches_from(lengths, batch_size=size, seed=seed, start=step, stop=end)
            else:
                drawn = drawn_batches(lengths, pool, batch_size=size, seed=seed, begin=begin, count=end - begin)
                yield from drawn[step - begin :]
            step = end

    def _segment(self, step: int, stop: int) -> tuple[int, int]:
        """The steps around ``step`` for which the feeds choose at once."""
        periods = [feed.every for feed in self.plan.feeds if feed.every > 0]
        begin = max((step // every * every for every in periods), default=0)
        return begin, min([stop, *((step // every + 1) * every for every in periods)])

    @torch.no_grad()
    def _pool(self, pool: Pool, step: int) -> Pool:
        fed = self.states.fed
        if step > int(fed):
            for feed in self.plan.feeds:
                if step == 0 or (feed.every and step % feed.every == 0):
                    feed.refresh(self._state(feed), self.setting, step)
            fed.fill_(step)
        for feed in self.plan.feeds:
            pool = feed.feed(pool, self._state(feed))
            if not len(pool.rows) or (pool.weights is not None and not pool.weights.sum() > 0):
                raise OptionError(f"{method_name(feed)} leaves no text to train on at step {step}; give it more texts")
        return pool

    def _state(self, feed: Any) -> nn.Module:
        return next(state for name, state in self._states.items() if self.plan.step_methods[name] is feed)
