"""The trainings of one run, all from the same start, as a topology drives them; each one resumes independently."""

from __future__ import annotations

from dataclasses import replace

from leafkit.methods.setting import Setting
from leafkit.students.student import Student
from leafkit.training.checkpoint import Checkpoints, State
from leafkit.training.companions import Companions
from leafkit.training.data import TrainingData
from leafkit.training.forward import StudentForward
from leafkit.training.loop import Loop, Report
from leafkit.training.run import Run
from leafkit.training.validation import Figures
from leafkit.types import Float32, Int64


class Generations:
    """Trains one or more students of ``run``, one after the other, as a `Training` that a topology can drive.

    After `run` or `fit`, ``trained`` is the last student, ``state`` the final state of its training, and ``data`` the
    texts that it was trained on. ``steps`` is the number of steps of its training, and ``finished`` are its figures if
    the methods changed its head afterwards. ``asked`` is the number of training texts whose teacher vectors were used,
    and ``count`` the number of students trained.
    """

    trained: Student
    state: State
    data: TrainingData
    steps: int
    finished: Figures | None
    asked: int

    def __init__(self, run: Run, report: Report | None, companions: Companions) -> None:
        """Prepare to train; ``report`` receives figures, and ``companions`` are the models beside the student."""
        self._run, self._report, self._companions = run, report, companions
        self.count = 0

    def run(self) -> None:
        """Train as the plan's topology says, or one student if there is no topology."""
        if self._run.plan.topology is None:
            self.fit(0)
        else:
            self._run.plan.topology.run(self)

    @property
    def setting(self) -> Setting:
        """The training of the first generation as methods see it, with the student at its start."""
        return self._loop(0, None).setting()

    def fit(self, generation: int, targets: Float32 | None = None) -> None:
        """Train a student from the start on ``targets``, (training texts, dim), or on the teacher's vectors if None."""
        loop = self._loop(generation, targets)
        self.state = loop.train()
        self.trained, self.asked = loop.forward.student, loop.methods.asked()
        self.steps, self.finished = loop.steps, loop.finished
        self.count += 1

    def student(self, rows: Int64) -> Float32:
        """Return the vectors that the last trained student gives the training texts ``rows``, (rows, dim)."""
        return self.encode(self.data.check_training_rows(rows))

    def encode(self, rows: Int64) -> Float32:
        """Return the vectors that the last trained student gives ``rows``, (rows, dim)."""
        student = self.trained.to(self._run.device)
        return StudentForward(student, self._run.recipe.precision).eval().encode(self.data.tokens, rows)

    def _loop(self, generation: int, targets: Float32 | None) -> Loop:
        student = self._run.open_start()
        if self.count == 0:
            self.data = self._run.open_data(student.layout)
        return Loop(
            run=self._run,
            forward=StudentForward(student, self._run.recipe.precision),
            data=replace(self.data, other_targets=targets),
            checkpoints=Checkpoints(self._run.folder.checkpoints(generation)),
            report=self._report,
            companions=self._companions,
        )
