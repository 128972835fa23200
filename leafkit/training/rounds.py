"""Trainings from one start, as a topology drives them: each generation resumes on its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from leafkit.methods.plan import Plan
from leafkit.methods.setting import Gather, Setting
from leafkit.training.checkpoint import Checkpoints, State
from leafkit.training.encode import encode_rows
from leafkit.training.forward import StudentForward
from leafkit.training.loop import Loop, Report, training_rows
from leafkit.training.prepare import open_material, open_start
from leafkit.training.recipe import Recipe
from leafkit.training.run_folder import RunFolder
from leafkit.types import Float32, Int64
from leafkit.vectors.store import VectorStore

if TYPE_CHECKING:
    from accelerate import Accelerator
    from sentence_transformers import SentenceTransformer


@dataclass(kw_only=True)
class Rounds:
    """The trainings of one run folder; afterwards ``model`` and ``state`` are those of the last generation.

    ``texts`` is the number of training texts; ``teach`` opens another teacher by name. ``asked`` says of how many of
    the texts the teacher was asked, ``generations`` how often a student was trained.
    """

    folder: RunFolder
    store: VectorStore
    texts: int
    plan: Plan
    recipe: Recipe
    accelerator: Accelerator
    device: str
    checkpoint_every: int | None
    report: Report | None
    teach: Callable[[str], Gather]
    model: SentenceTransformer = field(init=False)
    state: State = field(init=False)
    asked: int = field(init=False)
    generations: int = field(init=False, default=0)

    def run(self) -> None:
        """Train as the plan's topology says: once, unless it has one."""
        if self.plan.topology is None:
            self.fit(0)
        else:
            self.plan.topology.run(self)

    @property
    def setting(self) -> Setting:
        """The training of the first generation as methods see it, with the student at its start."""
        return self._loop(0, None).setting()

    def fit(self, generation: int, targets: Float32 | None = None) -> None:
        """Train a student from the start on ``targets``, (texts, dim), or the teacher's vectors."""
        loop = self._loop(generation, targets)
        self.state = loop.run()
        self.model, self.asked = loop.forward.model, loop.companions.asked()
        self.generations += 1

    def student(self, rows: Int64) -> Float32:
        """The vectors that the last fitted student writes for training ``rows``."""
        material = open_material(self.folder, self.model, self.store, self.texts)
        forward = StudentForward(self.model, self.recipe.precision).eval()
        return encode_rows(forward, material.tokens, training_rows(rows, self.texts))

    def _loop(self, generation: int, targets: Float32 | None) -> Loop:
        model = open_start(self.folder)
        material = open_material(self.folder, model, self.store, self.texts)
        name = "checkpoints" if generation == 0 else f"generation-{generation}"
        return Loop(
            forward=StudentForward(model.to(self.device), self.recipe.precision),
            material=replace(material, taught=targets),
            recipe=self.recipe,
            plan=self.plan,
            checkpoints=Checkpoints(self.folder.path / name),
            accelerator=self.accelerator,
            checkpoint_every=self.checkpoint_every,
            report=self.report,
            teach=self.teach,
        )
