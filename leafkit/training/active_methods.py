"""The methods of a plan while they train: the modules they built, their losses and their choice of texts."""

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
from leafkit.training.moments import Reader, Tensors, moments, set_moments
from leafkit.training.optimiser import adamw
from leafkit.training.recipe import Recipe

if TYPE_CHECKING:
    from leafkit.methods.batch import Batch, View
    from leafkit.methods.method import Feed, StepMethod
    from leafkit.types import Int64

# The names of the checkpoint files.
MODULES, MODULES_OPTIMISER = "methods", "methods-optimiser"


class ActiveMethods:
    """The methods of ``plan`` during a training, each with the module that it built for ``setting``.

    ``modules`` holds one module per method, in the order of the plan, and the buffer ``fed``: the step at which the
    feeds last measured the student, -1 before the first time. ``optimiser`` trains the parameters of the modules with
    the student's settings; None if the modules have no parameters.
    """

    def __init__(self, plan: Plan, setting: Setting, recipe: Recipe, device: torch.device) -> None:
        """Build every method from the same random state, so that no method changes another method or the student."""
        self.plan = plan
        self.setting = setting
        self.modules: Any = nn.Module()
        self.modules.register_buffer("fed", torch.tensor(-1))
        # A list, because the names of methods could clash with the attributes of a module.
        self.modules.methods = nn.ModuleList(self._built(method, device) for method in plan.step_methods.values())
        self._module_of = dict(zip(plan.step_methods, self.modules.methods, strict=True))
        trained = any(True for _ in self.modules.parameters())
        decay, rate = recipe.weight_decay, recipe.learning_rate
        self.optimiser = adamw(self.modules, learning_rate=rate, weight_decay=decay) if trained else None

    def _built(self, method: StepMethod, device: torch.device) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.setting.seed)
            return method.build(self.setting).to(device)

    def view(self, view: View) -> View:
        """Return the texts of a step as the student reads them, after every feed has changed ``view``."""
        for feed in self.plan.feeds:
            view = feed.views(view, self._module(feed))
        return view

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
        """Return the weighted loss of each text, (rows,), and the detached terms of each method by name."""
        total: Tensor | None = None
        terms = {}
        for name, method in self.plan.step_methods.items():
            losses = method.terms(batch, self._module_of[name])
            for loss in losses.values():
                weighted = method.weight * loss
                total = weighted if total is None else total + weighted
            terms[name] = {key: loss.detach() for key, loss in losses.items()}
        if total is None:
            raise TypeError(f"none of the methods {', '.join(self.plan.step_methods)} returns a loss")
        return total, terms

    @torch.no_grad()
    def tick(self, batch: Batch, terms: dict[str, dict[str, Tensor]]) -> None:
        """Let every method update its state after an optimiser step."""
        for name, method in self.plan.step_methods.items():
            method.after_step(batch, terms[name], self._module_of[name])

    def step(self, rate: float) -> None:
        """Take one optimiser step at learning rate ``rate`` on the parameters of the modules, if there are any."""
        if self.optimiser is None:
            return
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad()

    def asked(self) -> int:
        """Return the number of training texts whose teacher vectors were used so far."""
        texts = self.setting.texts
        return min((feed.teacher_calls(texts, self._module(feed)) for feed in self.plan.feeds), default=texts)

    def tensors(self) -> dict[str, Tensors]:
        """Return everything that a resumed run needs of the methods, by the name of the checkpoint file."""
        found: dict[str, Tensors] = {MODULES: self.modules.state_dict()}
        if self.optimiser is not None:
            found[MODULES_OPTIMISER] = moments(self.modules, self.optimiser)
        return found

    def restore(self, read: Reader) -> None:
        """Restore what `tensors` returned from a checkpoint, read by ``read``."""
        self.modules.load_state_dict(read(MODULES))
        if self.optimiser is not None:
            set_moments(self.modules, self.optimiser, read(MODULES_OPTIMISER))

    def batches(self, lengths: Int64, *, start: int, stop: int) -> Iterator[Int64]:
        """Yield the rows of each step from ``start`` to ``stop``, chosen by the feeds as the student learns.

        If every feed keeps all texts, the rows are those of a training without feeds. ``lengths`` are the lengths of
        all training texts in tokens, (texts,).
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
        """Return the first step and the end of the steps around ``step`` between which no method refreshes."""
        methods = self.plan.step_methods.values()
        periods = [method.refresh_every for method in methods if method.refresh_every > 0]
        begin = max((step // every * every for every in periods), default=0)
        return begin, min([stop, *((step // every + 1) * every for every in periods)])

    @torch.no_grad()
    def _pool(self, pool: Pool, step: int) -> Pool:
        """Return the part of ``pool`` to draw from, after the methods that are due at ``step`` have refreshed."""
        fed = self.modules.fed
        if step > int(fed):
            for name, method in self.plan.step_methods.items():
                if step == 0 or (method.refresh_every and step % method.refresh_every == 0):
                    method.refresh(self._module_of[name], self.setting, step)
            fed.fill_(step)
        for feed in self.plan.feeds:
            pool = feed.feed(pool, self._module(feed))
            if not len(pool.rows) or (pool.weights is not None and not pool.weights.sum() > 0):
                raise OptionError(
                    f"{method_name(feed)} selects none of the training texts at step {step}. Give it more texts, or "
                    f"remove {method_name(feed)}."
                )
        return pool

    def _module(self, feed: Feed) -> nn.Module:
        return next(module for name, module in self._module_of.items() if self.plan.step_methods[name] is feed)
