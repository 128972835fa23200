"""The methods of a plan while they train: the modules they built, their losses and their choice of texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor, nn

from leafkit.errors import OptionError
from leafkit.methods.plan import Plan
from leafkit.methods.registry import method_name
from leafkit.methods.setting import Pool, Setting
from leafkit.training.batches import batches_from, drawn_batches
from leafkit.training.facts import Reserved
from leafkit.training.live import retarget
from leafkit.training.moments import Reader, Tensors, moments, set_moments
from leafkit.training.optimiser import adamw
from leafkit.training.recipe import Recipe

if TYPE_CHECKING:
    from leafkit.methods.batch import Batch, View
    from leafkit.methods.method import Feed
    from leafkit.students.head import Linear
    from leafkit.types import Int64

# The names of the checkpoint files.
MODULES, MODULES_OPTIMISER = "methods", "methods-optimiser"


class ActiveMethods:
    """The methods of ``plan`` during a training, each with the module that it built for ``setting``.

    ``modules`` holds one module per method, in the order of the plan, and the buffer ``fed``: the last step at which
    the methods measured the student, -1 before the first time. ``optimiser`` trains the parameters of the modules with
    the student's settings; None if the modules have no parameters.
    """

    def __init__(
        self,
        plan: Plan,
        setting: Setting,
        recipe: Recipe,
        device: torch.device,
        *,
        reserved: Reserved | None = None,
        drawn: Int64 | None = None,
    ) -> None:
        """Build every method from the same random state, so that no method changes another method or the student.

        ``reserved`` are the rows that each method reserves, and ``drawn`` the rows that steps draw, by default all.
        """
        self.plan = plan
        self._drawn = numpy.arange(setting.texts) if drawn is None else drawn
        self.setting = setting = replace(setting, withheld=numpy.setdiff1d(numpy.arange(setting.texts), self._drawn))
        self._settings = {name: own_setting(setting, name, reserved or {}) for name in plan.step_methods}
        self.modules: Any = nn.Module()
        self.modules.register_buffer("fed", torch.tensor(-1))
        # A list, because the names of methods could clash with the attributes of a module.
        self.modules.methods = nn.ModuleList(self._built(name, device) for name in plan.step_methods)
        self._module_of = dict(zip(plan.step_methods, self.modules.methods, strict=True))
        trained = any(True for _ in self.modules.parameters())
        decay, rate = recipe.weight_decay, recipe.learning_rate
        self.optimiser = adamw(self.modules, learning_rate=rate, weight_decay=decay) if trained else None

    def _built(self, name: str, device: torch.device) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.setting.seed)
            return self.plan.step_methods[name].build(self._settings[name]).to(device)

    def view(self, view: View) -> View:
        """Return the texts of a step as the student reads them, after every feed has changed ``view``.

        For a feed that needs ``live``, the live teacher encodes the texts that the feed changed or added.
        """
        for feed in self.plan.feeds:
            before, view = view, feed.views(view, self._module(feed))
            if view is not before:
                check_view(before, view, method_name(feed))
            if "live" in feed.needs and self.setting.live is not None:
                view = feed.answered(retarget(self.setting.live, before, view), self._module(feed))
                check_view(before, view, method_name(feed))
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

    @torch.no_grad()
    def finish(self, head: Linear) -> Linear:
        """Return the head to export, after every method had its word about the trained ``head``."""
        for name, method in self.plan.step_methods.items():
            head = method.finish(self._module_of[name], head)
        return head

    def tensors(self) -> dict[str, Tensors]:
        """Return everything that a resumed run needs of the methods, by the name of the checkpoint file."""
        found: dict[str, Tensors] = {MODULES: self.modules.state_dict()}
        if self.optimiser is not None:
            found[MODULES_OPTIMISER] = moments(self.modules, self.optimiser)
        return found

    def restore(self, read: Reader) -> None:
        """Restore what `tensors` returned from a checkpoint, read by ``read``."""
        self.restore_modules(read)
        if self.optimiser is not None:
            set_moments(self.modules, self.optimiser, read(MODULES_OPTIMISER))

    def restore_modules(self, read: Reader) -> None:
        """Restore what the methods learned and remember from a checkpoint, but not the state of the optimiser."""
        self.modules.load_state_dict(read(MODULES))

    def batches(self, lengths: Int64, *, start: int, stop: int) -> Iterator[Int64]:
        """Yield the rows of each step from ``start`` to ``stop``, chosen by the feeds as the student learns.

        Before a step at which methods refresh, they measure the student. If every feed keeps all texts, the rows are
        those of a training without feeds. ``lengths`` are the lengths of all training texts in tokens, (texts,).
        """
        step = start
        while step < stop:
            begin, end = self._segment(step, stop)
            self._refresh(begin)
            for rows in self._rows(lengths, begin, step, end):
                self._refresh(step)
                yield rows
                step += 1

    def _rows(self, lengths: Int64, begin: int, step: int, end: int) -> Iterator[Int64]:
        """Yield the rows of each step from ``step`` to ``end``, all drawn from the pool that is chosen at ``begin``."""
        size, seed = self.setting.batch_size, self.setting.seed
        everything = Pool(rows=self._drawn)
        pool = self._pool(everything, begin)
        if pool is everything:
            batches = batches_from(lengths[self._drawn], batch_size=size, seed=seed, start=step, stop=end)
            yield from (self._drawn[batch] for batch in batches)
        else:
            drawn = drawn_batches(lengths, pool, batch_size=size, seed=seed, begin=begin, count=end - begin)
            yield from drawn[step - begin :]

    def _segment(self, step: int, stop: int) -> tuple[int, int]:
        """Return the first step and the end of the steps around ``step`` for which the feeds choose texts once."""
        periods = [feed.refresh_every for feed in self.plan.feeds if feed.refresh_every > 0]
        begin = max((step // every * every for every in periods), default=0)
        return begin, min([stop, *((step // every + 1) * every for every in periods)])

    @torch.no_grad()
    def _refresh(self, step: int) -> None:
        """Let the methods that are due at ``step`` measure the student, unless they did so before the run resumed."""
        fed = self.modules.fed
        if step <= int(fed):
            return
        for name, method in self.plan.step_methods.items():
            if step == 0 or (method.refresh_every and step % method.refresh_every == 0):
                method.refresh(self._module_of[name], self._settings[name], step)
        fed.fill_(step)

    @torch.no_grad()
    def _pool(self, pool: Pool, step: int) -> Pool:
        """Return the part of ``pool`` to draw from in the steps from ``step`` on."""
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


def own_setting(setting: Setting, name: str, reserved: Reserved) -> Setting:
    """Return ``setting`` for the method ``name``: with its own reserved rows, without labels and pairs of the others'.

    ``reserved`` are the rows that each method reserves.
    """
    own = reserved.get(name, numpy.zeros(0, dtype=numpy.int64))
    others = numpy.concatenate([own[:0], *(rows for other, rows in reserved.items() if other != name)])
    private = numpy.setdiff1d(others, own)
    if not len(private):
        return replace(setting, reserved=own)
    labels = setting.labels.copy()
    labels[private] = -1

    def batch(rows: Int64) -> Batch:
        known = setting.batch(rows)
        return replace(known, labels=torch.from_numpy(labels[rows]).to(known.labels.device))

    pairs = setting.pairs[~numpy.isin(setting.pairs, private).any(axis=1)]
    return replace(setting, reserved=own, labels=labels, pairs=pairs, batch=batch)


def check_view(before: View, after: View, name: str) -> None:
    """Raise `TypeError` if the feed ``name`` returned a view that lost texts or has not one entry for each row."""
    rows = len(after.rows)
    starts = after.features.get("offsets", after.features["input_ids"])
    parts = (starts, after.teacher, after.roles, after.labels, after.domains, after.origin)
    if rows < len(before.rows) or any(len(part) != rows for part in parts):
        raise TypeError(
            f"{name} returned a view with {', '.join(str(len(part)) for part in (after.rows, *parts))} rows, texts, "
            f"targets, roles, labels, domains and origins; expected the same number of each, at least "
            f"{len(before.rows)}"
        )
