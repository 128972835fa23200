"""The training loop: batches, optimiser steps, validation and checkpoints."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy
import torch

from leafkit.files.progress import progress
from leafkit.methods.batch import Batch, Outputs, TokenStates, View
from leafkit.methods.setting import Setting
from leafkit.students.head import head_of, set_head
from leafkit.students.held_out import overlap_text
from leafkit.training.active_methods import ActiveMethods
from leafkit.training.alarm import check_loss, check_spread
from leafkit.training.batches import examples_after, parts_of, share_of
from leafkit.training.checkpoint import Checkpoints, State
from leafkit.training.companions import Companions
from leafkit.training.data import TrainingData
from leafkit.training.facts import Draw, plan_draw, training_facts
from leafkit.training.forward import StudentForward
from leafkit.training.gradients import Gradients
from leafkit.training.interrupt import interruption
from leafkit.training.look import HeldOutLook, observe
from leafkit.training.moments import restore_training, training_tensors
from leafkit.training.optimiser import optimiser_of
from leafkit.training.run import Run
from leafkit.training.validation import Figures, measure
from leafkit.types import Float32, Int64

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT_SECONDS = 300
# The most padded tokens that pass through the student at once on a CPU: 32 texts of 128. The memory that the backward
# pass needs grows with them (batches of 32 SciFact abstracts, six layers of 384: 4.0 GB at once, 2.1 GB in parts, at
# the same speed).
PART_TOKENS = 4096

logger = logging.getLogger("leafkit")

Report = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A part of a batch after its backward pass: its flat token ids, the methods' terms by name, and the loss."""

    ids: Tensor
    batch: Batch
    terms: dict[str, dict[str, Tensor]]
    loss: Tensor


@dataclass
class Loop:
    """One training of ``run``, from its newest checkpoint to its last step.

    ``forward`` holds the student, which is trained in place on ``data``. ``rows`` are the training texts that steps may
    draw, by default all. ``report`` is called with a step and named figures (loss and rate, or validation).
    ``companions`` are the texts and the models beside the student. After `train`, ``asked`` is the number of training
    texts whose teacher vectors were used, and ``finished`` are the figures of the student whose head the methods
    changed, or None if they did not change the head.
    """

    run: Run
    forward: StudentForward
    data: TrainingData
    checkpoints: Checkpoints
    rows: Int64 | None = None
    report: Report | None = None
    companions: Companions = field(default_factory=Companions)
    finished: Figures | None = field(default=None, init=False)
    asked: int = field(default=0, init=False)
    _losses: list[Tensor] = field(default_factory=list)
    _terms: list[dict[str, dict[str, Tensor]]] = field(default_factory=list)
    # The token ids of batches that methods asked for outside of steps, and whose gradients they may have left.
    _asked: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Set what methods may ask for before the training starts."""
        self._device = self.forward.device
        self._parallel = self.forward
        self.state = State()

    def train(self) -> State:
        """Train to the end, load the weights that are kept into ``forward``, and return the final state.

        Raises `TrainingError` if the student collapses, and KeyboardInterrupt after a checkpoint if Ctrl-C was pressed.
        """
        self._prepare()
        if self.state.step == 0 and not self.state.history:
            self._validate()
        self._saved = self._since = time.monotonic()
        lengths = self.data.tokens.lengths[: self.data.train]
        batches = self.methods.batches(lengths, start=self.state.step, stop=self.steps)
        with interruption() as interrupted, self._bar() as bar:
            for rows in batches:
                self._step(rows)
                self._after_step(rows, bar, stop=interrupted())
        self.asked = self.methods.asked()
        if self.run.is_main:
            self._finish()
        return self.state

    def _finish(self) -> None:
        """Load the student to keep with the state that the methods had then, and let the methods finish its head."""
        if self.run.recipe.keep == "best" and self.state.best is not None:
            with self.checkpoints.reading(self.state.best) as read:
                self.forward.model.load_state_dict(read("student"))
                self.methods.restore_modules(read)
        trained = head_of(self.forward.student)
        head = self.methods.finish(trained)
        if head is not trained:
            set_head(self.forward.student, head)
            self.finished = measure(*self._held_out())

    def _prepare(self) -> None:
        run, student = self.run, self.forward.student
        self.steps = self.draw.facts.steps
        self.valid_every = run.recipe.steps_between_validations(len(self.draw.rows))
        self.forward.train()
        self.optimiser = optimiser_of(student, run.recipe)
        self.methods = ActiveMethods(
            run.plan, self.setting(), run.recipe, self._device, reserved=self.draw.reserved, drawn=self.draw.rows
        )
        self.state = self._resumed() or State()
        several = run.processes > 1
        lazy = self._device.type == "cpu" and not several
        self.gradients = Gradients(self.forward.model, student.token_table if lazy else None)
        if several:
            self._parallel = run.accelerator.prepare_model(self.forward, device_placement=False)

    def _resumed(self) -> State | None:
        """Restore the newest checkpoint and return its state; None if there is no checkpoint."""
        state = self.checkpoints.newest()
        if state is None or not state.history:
            return state
        with self.checkpoints.reading(state.step) as read:
            restore_training(self.forward.model, self.optimiser, read)
            self.methods.restore(read)
        if self.run.is_main:
            logger.info("resuming from step %d of %d", state.step, self.steps)
        return state

    @cached_property
    def draw(self) -> Draw:
        """The texts that steps draw, and those that methods reserve."""
        data, student = self.data, self.forward.student
        facts = training_facts(
            self.run.recipe,
            dim=student.head.out_features,
            width=student.head.in_features,
            depth=student.depth,
            roles=data.roles[: data.train],
            labels=data.labels,
            domains=data.domains,
            pairs=data.pairs,
            texts_of=lambda rows: self.companions.texts_of(data.check_training_rows(rows)),
        )
        return plan_draw(self.run.plan, self.run.recipe, facts, self.rows)

    def setting(self) -> Setting:
        """Return this training as the methods see it."""
        data = self.data
        return Setting(
            **vars(self.draw.facts),
            lengths=data.tokens.lengths[: data.train],
            reserved=numpy.zeros(0, dtype=numpy.int64),
            head_bias=self.forward.student.linear.bias is not None,
            targets=lambda rows: data.targets(data.check_training_rows(rows)),
            student=lambda rows: self.forward.encode(data.tokens, data.check_training_rows(rows)),
            hidden=lambda rows: self.forward.encode(data.tokens, data.check_training_rows(rows), hidden=True),
            batch=self._batch_of,
            ask=self.companions.ask,
            live=self.companions.live,
            open=lambda name: self.companions.open_peer(name, self.forward.student, data),
            other_teacher=self.companions.other_teacher,
        )

    def _batch_of(self, rows: Int64) -> Batch:
        """Return the texts ``rows`` as the current student writes them, with gradients even where a caller has none."""
        view = self._view(self.data.check_training_rows(rows))
        self._asked.append(view.features["input_ids"].flatten())
        with torch.enable_grad():
            return self._batch(view)

    def _bar(self) -> Any:
        if not self.run.is_main:
            return progress("distil", total=0, unit="texts")
        return progress("distil", total=self._examples(self.steps), unit="texts", done=self._examples(self.state.step))

    def _examples(self, steps: int) -> int:
        """Return the number of texts in the first ``steps`` steps; only about right if a feed chooses the texts."""
        return examples_after(steps, len(self.draw.rows), self.run.recipe.batch_size)

    def _step(self, rows: Int64) -> None:
        """Take one optimiser step on the global batch ``rows``, of which this process computes its share."""
        world = self.run.processes
        mine = share_of(rows, self.run.accelerator.process_index, world)
        # A process without a share still joins the exchange of gradients, with one text of weight 0.
        weight = world / len(rows) if len(mine) else 0.0
        mine = mine if len(mine) else rows[:1]
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        if self._asked:
            self.gradients.clear(torch.cat(self._asked))
            self._asked.clear()
        parts = [self._backward(part, weight) for part in self._parts(mine)]
        self.optimiser.step()
        self.methods.step(self._rate())
        self.gradients.clear(torch.cat([part.ids for part in parts]))
        for part in parts:
            self.methods.tick(part.batch, part.terms)
        self._losses.append(torch.stack([part.loss for part in parts]).sum())
        self._terms = [part.terms for part in parts]
        self.state.step += 1

    def _parts(self, rows: Int64) -> list[Int64]:
        """Split ``rows`` into the parts that pass through the student together.

        Batches are split only on a CPU, so that long texts fit into memory. The gradient is the same if each text's
        loss is independent of the other texts. A batch is not split if methods compare texts, or if several processes
        exchange gradients once per step.
        """
        if not self.run.plan.leaf_alone or self._device.type != "cpu" or self._parallel is not self.forward:
            return [rows]
        return parts_of(rows, self.data.tokens.lengths[rows], PART_TOKENS)

    def _backward(self, rows: Int64, weight: float) -> _Part:
        """Add the gradients of the texts ``rows``, each with ``weight``, which its views share equally."""
        view = self.methods.view(self._view(rows))
        batch = self._batch(view)
        losses, terms = self.methods.losses(batch)
        if len(view.rows) > len(rows):  # feeds have added views
            losses = losses / torch.bincount(view.origin)[view.origin]
        loss = losses.sum() * weight
        loss.backward()
        return _Part(ids=view.features["input_ids"].flatten(), batch=batch, terms=terms, loss=loss.detach())

    def _view(self, rows: Int64) -> View:
        data = self.data
        return View(
            features=data.tokens.features(rows),
            teacher=torch.from_numpy(data.targets(rows)).to(self._device, non_blocking=True),
            roles=torch.from_numpy(data.roles[rows]).to(self._device),
            rows=torch.from_numpy(rows).to(self._device),
            labels=torch.from_numpy(data.labels[rows]).to(self._device),
            domains=torch.from_numpy(data.domains[rows]).to(self._device),
            origin=torch.arange(len(rows), device=self._device),
            step=self.state.step,
            seed=self.run.recipe.seed,
        )

    def _batch(self, view: View) -> Batch:
        """Pass ``view`` through the student, and its tokens through the live teacher if a method needs them."""
        needs, same = self.run.plan.needs, {name: value for name, value in vars(view).items() if name != "embed"}
        found: Outputs = self._parallel(
            dict(view.features),
            layers=needs("layers"),
            states=needs("states"),
            tokens=needs("tokens"),
            embed=view.embed,
        )
        live, tokens = self.companions.live, None
        if live is not None and found.tokens is not None:
            tokens = live.token_states(view.features, found.tokens)
        return Batch(**vars(found) | {"tokens": tokens}, **same)

    def _rate(self) -> float:
        return self.run.recipe.rate(self.state.step, self.steps)

    def _after_step(self, rows: Int64, bar: Any, *, stop: bool) -> None:
        state = self.state
        validating = state.step % self.valid_every == 0 or state.step == self.steps
        saving = validating or stop or (self.run.is_main and self._checkpoint_due())
        # Reading a loss makes a GPU wait, so losses are read only now and then.
        if saving or self._device.type == "cpu" or state.step % 50 == 0:
            self._read_losses()
            self._count_seconds()
            bar.set_postfix(loss=f"{state.loss:.4f}", refresh=False)
        if self.run.is_main:
            bar.update(len(rows))
            if validating:
                self._validate()
            elif saving:
                self._save()
        if saving:
            # Validating and saving do not count as seconds of training.
            self._since = time.monotonic()
        if stop:
            raise KeyboardInterrupt(
                f"stopped at step {state.step} of {self.steps}. Repeat the command to resume from there."
            )

    def _checkpoint_due(self) -> bool:
        every = self.run.options.checkpoint_every
        if every is not None:
            return self.state.step % every == 0
        return time.monotonic() - self._saved > CHECKPOINT_SECONDS

    def _read_losses(self) -> None:
        """Update the running mean that the bar shows with all losses since the last call."""
        for loss in torch.stack(self._losses).tolist() if self._losses else []:
            check_loss(loss, self.state.step, self.checkpoints.folder)
            before = self.state.loss
            self.state.loss = loss if before is None else before + 0.02 * (loss - before)
        self._losses.clear()
        if self.report and self.state.loss is not None:
            figures = {"train/loss": self.state.loss, "train/rate": float(self.optimiser.param_groups[0]["lr"])}
            self.report(self.state.step, figures | self._mean_terms())

    def _mean_terms(self) -> dict[str, float]:
        """Return the mean of each of the methods' terms in the last step, without the methods' weights."""
        of_all_parts: dict[str, list[Tensor]] = {}
        for terms in self._terms:
            for method, named in terms.items():
                for name, term in named.items():
                    of_all_parts.setdefault(f"train/{method}/{name}", []).append(term)
        return {name: float(torch.cat(parts).mean()) for name, parts in of_all_parts.items()}

    def _count_seconds(self) -> None:
        """Add the time since the last call to the seconds of training."""
        now = time.monotonic()
        self.state.seconds += now - self._since
        self._since = now

    def _validate(self) -> None:
        """Measure the student on the held-out texts, raise if it has collapsed, and save."""
        if not self.run.is_main:
            return
        student, teacher = self._held_out()
        figures = measure(student, teacher)
        check_spread(figures, self.state, self.checkpoints.folder)
        observed = observe(self.run.plan.probes, self._look(student, teacher))
        self._record(figures)
        self.state.history[-1].update(observed)
        self._save()

    def _held_out(self) -> tuple[Float32, Float32]:
        """Return the vectors of the held-out texts by the student and by the teacher, (rows, dim) each."""
        rows = self.data.valid_rows
        return self.forward.encode(self.data.tokens, rows), self.data.targets(rows)

    def _look(self, student: Float32, teacher: Float32) -> HeldOutLook:
        """Return what probes see; ``student`` and ``teacher`` are the vectors of the held-out texts, (rows, dim)."""
        return HeldOutLook(
            student=student,
            teacher=teacher,
            methods=self.run.plan.specs,
            step=self.state.step,
            steps=self.steps,
            validations=self.draw.facts.validations,
            rate=partial(self.run.recipe.rate, steps=self.steps),
            history=self.state.history,
            corpus=self.companions.corpus,
            read_tokens=self._held_out_tokens,
            ask=self.companions.ask,
            encode_texts=partial(self.forward.encode_texts, max_length=self.run.recipe.training_length),
        )

    @torch.no_grad()
    def _held_out_tokens(self, rows: Int64) -> TokenStates:
        features, live = self.data.tokens.features(self.data.valid_rows[rows]), self.companions.live
        found = self.forward(dict(features), tokens=True)
        if live is None or found.tokens is None:
            raise TypeError("this training has no token states; the probe that reads them must need 'tokens'")
        return live.token_states(features, found.tokens)

    def _record(self, figures: Figures) -> None:
        """Add ``figures`` to the history, and mark this step if it is the best so far."""
        state = self.state
        state.widest = max(state.widest, figures.spread)
        state.history.append({"step": state.step, "seconds": state.seconds, "loss": state.loss, **asdict(figures)})
        if figures.cosine_mean > state.best_cosine:
            state.best, state.best_cosine = state.step, figures.cosine_mean
        logger.info(
            "step %d: cosine %.4f (5th percentile %.4f), overlap@10 %s",
            *(state.step, figures.cosine_mean, figures.cosine_p5),
            overlap_text(figures.overlap_at_10, len(self.data.valid_rows)),
        )
        if self.report:
            measured = {name: value for name, value in asdict(figures).items() if value is not None}
            self.report(state.step, {f"valid/{name}": value for name, value in measured.items()})

    def _save(self) -> None:
        tensors = training_tensors(self.forward.model, self.optimiser) | self.methods.tensors()
        self.checkpoints.write(self.state, tensors)
        self._saved = time.monotonic()
