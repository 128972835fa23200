"""One training in the laboratory: real methods, driven in the order of `leafkit.methods.method`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from eval.mechanism.student import Perceptron
from eval.mechanism.texts import LabTexts
from leafkit.errors import OptionError
from leafkit.methods.ask import Ask
from leafkit.methods.batch import Batch, View
from leafkit.methods.method import Method, StepMethod
from leafkit.methods.plan import Plan, make_plan
from leafkit.methods.registry import method_name, parse_method
from leafkit.methods.setting import Facts, Setting
from leafkit.training.active_methods import ActiveMethods
from leafkit.training.batches import steps_per_epoch
from leafkit.training.facts import plan_draw
from leafkit.training.optimiser import adamw
from leafkit.training.recipe import Recipe
from leafkit.training.schedule import learning_rate_at
from leafkit.types import Float32, Int64

# The batches at the start over which the pull of a method is measured.
PULL_BATCHES = 20


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is trained, and how long.

    ``depth`` hidden layers of ``width`` units make the student; ``ridge`` starts its head in the closed-form solution.
    ``pulls`` gives methods a dose instead of a weight: their weight is set so that the norm of their gradient at
    the input of the head is this multiple of LEAF's, on average over the first batches, before the first step.
    ``others`` has the vectors of other teachers by name, (texts, dim) each. ``ask`` answers methods that ask.
    ``watch`` is called with the student before the first step, then every ``watch_every`` steps and at the end.
    """

    steps: int = 600
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 0
    width: int = 96
    depth: int = 1
    ridge: bool = True
    pulls: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, Float32] = field(default_factory=dict)
    ask: Ask | None = None
    watch: Callable[[Perceptron], None] = lambda _student: None
    watch_every: int = 50


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished student with the modules that the methods built, by name.

    ``pulls`` is the mean over the training of each method's gradient norm at the input of the head, with its weight,
    relative to LEAF's; empty without LEAF. ``weights`` are the weights that were used. ``drawn`` (texts,) counts how
    often a step drew each text.
    """

    student: Perceptron
    states: Mapping[str, Any]
    pulls: Mapping[str, float]
    weights: Mapping[str, float]
    drawn: Int64
    seconds: float

    def encode(self, texts: LabTexts) -> Float32:
        """Return the student's unit vectors of ``texts``, (texts, dim)."""
        return self.student.encode(texts.features)


def train(methods: Sequence[str | Method], texts: LabTexts, job: Job, start: Perceptron | None = None) -> Trained:
    """Train a student on ``texts`` with ``methods``: objectives and feeds. ``start`` is copied instead of a new one."""
    return _Training(lab_plan(methods), texts, job, start).run()


def lab_plan(methods: Sequence[str | Method]) -> Plan:
    """Return the plan with ``methods`` of all kinds; raise `OptionError` for anything but objectives and feeds."""
    chosen = [parse_method(method) for method in methods]
    if unfit := [method for method in chosen if not isinstance(method, StepMethod)]:
        raise OptionError(
            f"{method_name(unfit[0])} takes no part in a step, so the laboratory cannot train with it. Call its "
            "functions instead."
        )
    kinds = {option: [method for method in chosen if method.option == option] for option in ("methods", "feeds")}
    return make_plan(**kinds)


def setting_of(texts: LabTexts, job: Job) -> Setting:
    """Return a training on ``texts`` as methods see it, with the student at its start."""
    return _Training(lab_plan(["leaf"]), texts, job, None).setting


class _Training:
    """A training with its student, its setting and its optimiser."""

    def __init__(self, plan: Plan, texts: LabTexts, job: Job, start: Perceptron | None) -> None:
        self.texts, self.job, self.began = texts, job, time.perf_counter()
        self.student = self._new_student(job.seed, job.depth)
        if start is not None:
            self.student.load_state_dict(start.state_dict())
        self.setting = self._setting(plan)
        self.plan = self._dosed(plan) if job.pulls else plan
        self.methods = self._active(self.plan)
        self.optimiser = adamw(self.student, learning_rate=job.learning_rate, weight_decay=self._recipe.weight_decay)

    def run(self) -> Trained:
        """Take all steps, let the methods finish the head, and return the result."""
        norms: list[dict[str, float]] = []
        drawn = numpy.zeros(len(self.texts), dtype=numpy.int64)
        lengths, steps = self.texts.lengths, self.job.steps
        for step, rows in enumerate(self.methods.batches(lengths, start=0, stop=steps)):
            if step % max(1, steps // 10) == 0:
                norms.append(self._norms(self.methods, self._batch(self.methods, rows, step)))
            if step % self.job.watch_every == 0:
                self.job.watch(self.student)
            self._step(rows, step)
            numpy.add.at(drawn, rows, 1)
        self.job.watch(self.student)
        states = dict(zip(self.plan.step_methods, self.methods.modules.methods, strict=True))
        self.student.set_head(self.methods.finish(self.student.linear()))
        return Trained(
            student=self.student,
            states=states,
            pulls=_pulls(norms),
            weights={name: method.weight for name, method in self.plan.step_methods.items()},
            drawn=drawn,
            seconds=time.perf_counter() - self.began,
        )

    @property
    def _recipe(self) -> Recipe:
        return Recipe(learning_rate=self.job.learning_rate, batch_size=self.job.batch_size, seed=self.job.seed)

    def _new_student(self, seed: int, depth: int) -> Perceptron:
        texts, job = self.texts, self.job
        inputs, dim = texts.features.shape[1], texts.vectors.shape[1]
        student = Perceptron(inputs, width=job.width, depth=depth, dim=dim, seed=seed, table=texts.table)
        if job.ridge:
            student.start_head(texts.features, texts.vectors)
        return student

    def _setting(self, plan: Plan) -> Setting:
        texts, job = self.texts, self.job
        facts = Facts(
            dim=texts.vectors.shape[1],
            width=job.width,
            depth=job.depth,
            steps=job.steps,
            epoch_steps=steps_per_epoch(len(texts), job.batch_size),
            validations=1,  # the lab observes once, at the end
            batch_size=job.batch_size,
            seed=job.seed,
            roles=texts.roles,
            labels=texts.labels,
            domains=texts.domains,
            pairs=texts.pairs,
            texts_of=lambda rows: [texts.texts[row] for row in rows],
        )
        plan.check(facts)
        self._draw = plan_draw(plan, self._recipe, facts)
        return Setting(
            **vars(facts),
            lengths=texts.lengths,
            reserved=facts.pairs[:0, 0],  # Each method is told its own.
            targets=lambda rows: texts.vectors[rows],
            student=lambda rows: self.student.encode(texts.features[rows]),
            hidden=lambda rows: self.student.hidden(texts.features[rows]),
            batch=lambda rows: self._pass(self._view(rows, 0)),
            ask=job.ask,
            live=None,
            open=self._open,
            other_teacher=self._other_teacher,
        )

    def _open(self, spec: str) -> nn.Module:
        """Return a peer: another perceptron, whose depth is the number after a last ``=`` in ``spec``, if any."""
        digits = spec.rpartition("=")[2]
        return self._new_student(self.job.seed + 1000, int(digits) if digits.isdecimal() else self.job.depth)

    def _other_teacher(self, name: str) -> Callable[[Int64], Float32]:
        if name not in self.job.others:
            known = ", ".join(self.job.others) or "none"
            raise OptionError(f"this training has no other teacher {name!r}; expected one of: {known}.")
        vectors = self.job.others[name]
        return lambda rows: vectors[rows]

    def _active(self, plan: Plan) -> ActiveMethods:
        draw = self._draw
        cpu = torch.device("cpu")
        return ActiveMethods(plan, self.setting, self._recipe, cpu, reserved=draw.reserved, drawn=draw.rows)

    def _dosed(self, plan: Plan) -> Plan:
        """Return ``plan`` with the weights that give each method its pull at the start of the training."""
        unknown = [name for name in self.job.pulls if name not in plan.step_methods]
        if unknown or "leaf" not in plan.step_methods:
            raise OptionError(f"a pull needs leaf and a method of the plan; got {', '.join(unknown) or 'no leaf'}.")
        unit = {name: replace(method, weight=1.0) for name, method in plan.step_methods.items()}
        probe = self._active(replace(plan, step_methods=unit))
        draw = numpy.random.default_rng([self.job.seed, 31])
        sums = dict.fromkeys(unit, 0.0)
        for _ in range(PULL_BATCHES):
            rows = draw.permutation(len(self.texts))[: self.job.batch_size]
            for name, norm in self._norms(probe, self._batch(probe, rows, 0)).items():
                sums[name] += norm
        weights = {name: pull * sums["leaf"] / max(sums[name], 1e-12) for name, pull in self.job.pulls.items()}
        dosed = {
            name: replace(method, weight=weights.get(name, method.weight)) for name, method in plan.step_methods.items()
        }
        return replace(plan, step_methods=dosed)

    def _norms(self, methods: ActiveMethods, batch: Batch) -> dict[str, float]:
        """Return the norm of each method's weighted gradient at the input of the head, by name."""
        modules = zip(methods.plan.step_methods.items(), methods.modules.methods, strict=True)
        norms = {}
        for (name, method), module in modules:
            terms = list(method.terms(batch, module).values())
            norms[name] = 0.0
            if terms:
                total = torch.stack([term.sum() for term in terms]).sum()
                grads = torch.autograd.grad(total, [batch.hidden], retain_graph=True, materialize_grads=True)
                norms[name] = method.weight * float(grads[0].norm())
        return norms

    def _step(self, rows: Int64, step: int) -> None:
        job = self.job
        rate = learning_rate_at(
            step,
            steps=job.steps,
            cycles=1,
            start=job.learning_rate,
            end=self._recipe.final_learning_rate,
            warmup=self._recipe.warmup,
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        batch = self._batch(self.methods, rows, step)
        losses, terms = self.methods.losses(batch)
        losses.mean().backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.methods.step(rate)
        self.methods.tick(batch, terms)

    def _batch(self, methods: ActiveMethods, rows: Int64, step: int) -> Batch:
        return self._pass(methods.view(self._view(rows, step)))

    def _view(self, rows: Int64, step: int) -> View:
        texts = self.texts
        return View(
            features=self._features(rows),
            teacher=torch.from_numpy(texts.vectors[rows]),
            roles=torch.from_numpy(texts.roles[rows]),
            rows=torch.from_numpy(rows),
            labels=torch.from_numpy(texts.labels[rows]),
            domains=torch.from_numpy(texts.domains[rows]),
            origin=torch.arange(len(rows)),
            step=step,
            seed=self.job.seed,
        )

    def _features(self, rows: Int64) -> dict[str, Tensor]:
        """Return what the student reads of the texts ``rows``: token ids as for a token table, or rows of features."""
        texts = self.texts
        if texts.table is None:
            return {"features": torch.from_numpy(texts.features[rows])}
        tokens = [texts.tokens[row] for row in rows]
        starts = numpy.cumsum([0, *map(len, tokens[:-1])])
        return {"input_ids": torch.from_numpy(numpy.concatenate(tokens)), "offsets": torch.from_numpy(starts)}

    def _pass(self, view: View) -> Batch:
        """Pass ``view`` through the student."""
        same = {name: value for name, value in vars(view).items() if name != "embed"}
        outputs = self.student(view.features)
        return Batch(student=outputs.student, raw=outputs.raw, hidden=outputs.hidden, layers=outputs.layers, **same)


def _pulls(norms: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each method's gradient norm relative to LEAF's; empty without LEAF."""
    if not norms or "leaf" not in norms[0]:
        return {}
    return {name: float(numpy.mean([row[name] / max(row["leaf"], 1e-12) for row in norms])) for name in norms[0]}
