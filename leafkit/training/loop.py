"""The training loop: batches, steps, validation, checkpoints. Methods plug in as objectives."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy
import torch

from leafkit.errors import OptionError
from leafkit.files.progress import progress
from leafkit.methods.batch import Batch, View
from leafkit.methods.plan import Plan
from leafkit.methods.setting import Gather, Setting
from leafkit.training.alarm import check_loss, check_spread
from leafkit.training.batches import examples_after, parts_of, share_of, steps_per_epoch
from leafkit.training.checkpoint import Checkpoints, State
from leafkit.training.companions import Companions
from leafkit.training.encode import encode_rows
from leafkit.training.forward import Outputs, StudentForward, depth, token_table
from leafkit.training.gradients import Gradients
from leafkit.training.interrupt import interruption
from leafkit.training.material import Material
from leafkit.training.optimiser import optimiser_of
from leafkit.training.recipe import Recipe
from leafkit.training.schedule import learning_rate_at
from leafkit.training.validation import Figures, measure
from leafkit.types import Float32, Int64

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

CHECKPOINT_SECONDS = 300
VALIDATIONS = 10
# Padded tokens that go through the student at once on a CPU: 32 texts of 128. What the backward pass keeps grows with
# them (batches of 32 SciFact abstracts, six layers of 384: 4.0 GB of memory at once, 2.1 GB in parts, as fast).
PART_TOKENS = 4096

logger = logging.getLogger("leafkit")


Report = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class _Learnt:
    """A part of a batch after its backward pass: its token ids, flat, and what was seen of it."""

    ids: Tensor
    batch: Batch
    seen: dict[str, dict[str, Tensor]]
    loss: Tensor


@dataclass
class Loop:
    """One run from wherever its checkpoints stand to its last step.

    ``forward`` holds the student and is trained in place, by the methods of ``plan``. ``checkpoint_every`` counts
    steps; None means every five minutes. ``report`` is called with a step and named figures (loss and rate, or
    validation). ``teach`` opens another teacher, for methods that have several.
    """

    forward: StudentForward
    material: Material
    recipe: Recipe
    plan: Plan
    checkpoints: Checkpoints
    accelerator: Accelerator
    checkpoint_every: int | None = None
    report: Report | None = None
    teach: Callable[[str], Gather] | None = None
    _losses: list[Tensor] = field(default_factory=list)
    _seen: list[dict[str, dict[str, Tensor]]] = field(default_factory=list)

    def run(self) -> State:
        """Train to the end and leave the student to keep in ``forward``; returns the final state.

        Raises `TrainingError` on collapse, KeyboardInterrupt after a checkpoint if Ctrl-C was pressed.
        """
        self._prepare()
        if self.state.step == 0 and not self.state.history:
            self._validate()
        self._saved = self._since = time.monotonic()
        lengths = self.material.tokens.lengths[: self.material.train]
        batches = self.companions.batches(lengths, start=self.state.step, stop=self.steps)
        with interruption() as asked, self._bar() as bar:
            for rows in batches:
                self._step(rows)
                self._after_step(rows, bar, stop=asked())
        if self._first and self.recipe.keep == "best" and self.state.best is not None:
            self.checkpoints.load(self.state.best, self.forward.model)
        return self.state

    def _prepare(self) -> None:
        recipe = self.recipe
        self.steps = recipe.steps(self.material.train)
        self.valid_every = recipe.valid_every or max(1, self.steps // VALIDATIONS)
        self._first = self.accelerator.is_main_process
        self._device = next(self.forward.parameters()).device
        self.forward.train()
        self.optimiser = optimiser_of(self.forward.model, recipe)
        several = self.accelerator.num_processes > 1
        self.companions = Companions(self.plan, self.setting(), recipe, self._device)
        self.state = self.checkpoints.newest() or State()
        if self.state.history:
            self.checkpoints.load(self.state.step, self.forward.model, self.optimiser, self.companions)
            if self._first:
                logger.info("going on from step %d of %d", self.state.step, self.steps)
        lazy = self._device.type == "cpu" and not several
        self.gradients = Gradients(self.forward.model, token_table(self.forward.model) if lazy else None)
        self._parallel = (
            self.accelerator.prepare_model(self.forward, device_placement=False) if several else self.forward
        )

    def setting(self) -> Setting:
        """What the methods may know of this training."""
        material, train = self.material, self.material.train
        head = self.forward.model[self.forward.head]
        return Setting(
            dim=head.linear.out_features,
            width=head.linear.in_features,
            depth=depth(self.forward.model),
            steps=self.recipe.steps(train),
            epoch_steps=steps_per_epoch(train, self.recipe.batch_size),
            batch_size=self.recipe.batch_size,
            seed=self.recipe.seed,
            roles=material.roles[:train],
            labels=material.labels,
            domains=material.domains,
            lengths=material.tokens.lengths[:train],
            targets=lambda rows: material.targets(training_rows(rows, train)),
            student=lambda rows: encode_rows(self.forward, material.tokens, training_rows(rows, train)),
            other_teacher=self.teach or _no_other_teacher,
        )

    def _bar(self) -> Any:
        if not self._first:
            return progress("distil", total=0, unit="texts")
        return progress("distil", total=self._texts(self.steps), unit="texts", done=self._texts(self.state.step))

    def _texts(self, steps: int) -> int:
        """How many texts the first ``steps`` see; a bar needs no more than nearly, within an epoch."""
        return examples_after(steps, self.material.train, self.recipe.batch_size)

    def _step(self, rows: Int64) -> None:
        """One optimiser step on the global batch ``rows``, of which this process computes its share."""
        world = self.accelerator.num_processes
        mine = share_of(rows, self.accelerator.process_index, world)
        # A process without a share still joins the exchange of gradients, with one text that counts nothing.
        weight = world / len(rows) if len(mine) else 0.0
        mine = mine if len(mine) else rows[:1]
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        learnt = [self._learn(part, weight) for part in self._parts(mine)]
        self.optimiser.step()
        self.companions.step(self._rate())
        self.gradients.clear(torch.cat([part.ids for part in learnt]))
        for part in learnt:
            self.companions.tick(part.batch, part.seen)
        self._losses.append(torch.stack([part.loss for part in learnt]).sum())
        self._seen = [part.seen for part in learnt]
        self.state.step += 1

    def _parts(self, rows: Int64) -> list[Int64]:
        """``rows`` as they go through the student together: on a CPU in parts, so that long texts fit into memory.

        A loss of each text for itself has the same gradient in parts as at once; other methods compare texts, and
        several processes exchange gradients once a step.
        """
        if not self.plan.leaf_alone or self._device.type != "cpu" or self._parallel is not self.forward:
            return [rows]
        return parts_of(rows, self.material.tokens.lengths[rows], PART_TOKENS)

    def _learn(self, rows: Int64, weight: float) -> _Learnt:
        """Add the gradients of ``rows``, each of which counts ``weight``."""
        view = self.companions.view(self._view(rows))
        batch = self._batch(view)
        losses, seen = self.companions.losses(batch)
        loss = losses.sum() * weight
        loss.backward()
        return _Learnt(ids=view.features["input_ids"].flatten(), batch=batch, seen=seen, loss=loss.detach())

    def _view(self, rows: Int64) -> View:
        material = self.material
        return View(
            features=material.tokens.features(rows),
            teacher=torch.from_numpy(material.targets(rows)).to(self._device, non_blocking=True),
            roles=torch.from_numpy(material.roles[rows]).to(self._device),
            rows=torch.from_numpy(rows).to(self._device),
            labels=torch.from_numpy(material.labels[rows]).to(self._device),
            domains=torch.from_numpy(material.domains[rows]).to(self._device),
            step=self.state.step,
            seed=self.recipe.seed,
        )

    def _batch(self, view: View) -> Batch:
        """The view after the student's forward pass."""
        shown = {name: value for name, value in vars(view).items() if name != "features"}
        if self._parallel is not self.forward:
            return Batch(student=self._parallel(dict(view.features)), **shown)
        outputs: Outputs = self.forward.outputs(dict(view.features), layers=self.plan.needs("layers"))
        return Batch(student=outputs.student, raw=outputs.raw, hidden=outputs.hidden, layers=outputs.layers, **shown)

    def _rate(self) -> float:
        recipe = self.recipe
        return learning_rate_at(
            self.state.step,
            steps=self.steps,
            cycles=recipe.cycles,
            start=recipe.learning_rate,
            end=recipe.final_learning_rate,
            warmup=recipe.warmup,
        )

    def _after_step(self, rows: Int64, bar: Any, *, stop: bool) -> None:
        state = self.state
        validating = state.step % self.valid_every == 0 or state.step == self.steps
        saving = validating or stop or (self._first and self._due())
        # Reading a loss makes a GPU wait for it, so it is done now and then.
        if saving or self._device.type == "cpu" or state.step % 50 == 0:
            self._read_losses()
            self._count_seconds()
            bar.set_postfix(loss=f"{state.loss:.4f}", refresh=False)
        if self._first:
            bar.update(len(rows))
            if validating:
                self._validate()
            elif saving:
                self._save()
        if saving:
            # What validation and saving took is no training.
            self._since = time.monotonic()
        if stop:
            raise KeyboardInterrupt(
                f"stopped at step {state.step} of {self.steps}; the same command goes on from there"
            )

    def _due(self) -> bool:
        if self.checkpoint_every is not None:
            return self.state.step % self.checkpoint_every == 0
        return time.monotonic() - self._saved > CHECKPOINT_SECONDS

    def _read_losses(self) -> None:
        """Fold the losses since last time into the running mean that the bar shows."""
        for loss in torch.stack(self._losses).tolist() if self._losses else []:
            check_loss(loss, self.state.step, self.checkpoints.folder)
            before = self.state.loss
            self.state.loss = loss if before is None else before + 0.02 * (loss - before)
        self._losses.clear()
        if self.report and self.state.loss is not None:
            figures = {"train/loss": self.state.loss, "train/rate": self._rate_done()}
            self.report(self.state.step, figures | self._terms())

    def _terms(self) -> dict[str, float]:
        """What the methods' terms were in the last step, before their weights."""
        terms: dict[str, list[Tensor]] = {}
        for seen in self._seen:
            for method, named in seen.items():
                for name, term in named.items():
                    terms.setdefault(f"train/{method}/{name}", []).append(term)
        return {name: float(torch.cat(parts).mean()) for name, parts in terms.items()}

    def _count_seconds(self) -> None:
        """Add the time since last time to the seconds of training."""
        now = time.monotonic()
        self.state.seconds += now - self._since
        self._since = now

    def _rate_done(self) -> float:
        return float(self.optimiser.param_groups[0]["lr"])

    def _validate(self) -> None:
        """Measure the student, sound the alarm if it has collapsed, keep it if it is the best, and save."""
        if not self._first:
            return
        rows = self.material.valid_rows
        student, teacher = encode_rows(self.forward, self.material.tokens, rows), self.material.targets(rows)
        figures = measure(student, teacher)
        check_spread(figures, self.state, self.checkpoints.folder)
        observed = self._observe(student, teacher)
        self._remember(figures)
        self.state.history[-1].update(observed)
        self._save()

    def _observe(self, student: Float32, teacher: Float32) -> dict[str, dict[str, Any]]:
        """What the probes see of held-out vectors; their events are told to the user and change nothing."""
        history, found = self.state.history, {}
        for name, probe in self.plan.probes.items():
            if probe.every and len(history) % probe.every == 0:
                found[name] = probe.observe(student, teacher, history)
                for event in found[name].get("events", ()):
                    logger.warning("%s at step %d: %s", name, self.state.step, event)
        return found

    def _remember(self, figures: Figures) -> None:
        state = self.state
        state.widest = max(state.widest, figures.spread)
        state.history.append({"step": state.step, "seconds": state.seconds, "loss": state.loss, **asdict(figures)})
        if figures.cosine_mean > state.best_cosine:
            state.best, state.best_cosine = state.step, figures.cosine_mean
        logger.info(
            "step %d: cosine %.4f (5th percentile %.4f), overlap@10 %.3f",
            *(state.step, figures.cosine_mean, figures.cosine_p5, figures.overlap_at_10),
        )
        if self.report:
            self.report(state.step, {f"valid/{name}": value for name, value in asdict(figures).items()})

    def _save(self) -> None:
        self.checkpoints.write(self.state, self.forward.model, self.optimiser, self.companions)
        self._saved = time.monotonic()


def training_rows(rows: Int64, train: int) -> Int64:
    """``rows`` itself; a method that asks for others than training texts is wrong."""
    if len(rows) and not 0 <= int(numpy.min(rows)) <= int(numpy.max(rows)) < train:
        raise IndexError(f"a method asks for texts outside the {train} training texts")
    return rows


def _no_other_teacher(name: str) -> Gather:
    raise OptionError(f"the teacher {name} cannot be opened here: there are no texts for it to encode")
