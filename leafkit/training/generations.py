"""The trainings of one run as a topology drives them, each with a name; each one resumes independently."""

from __future__ import annotations

import copy
import re
from dataclasses import replace

import numpy

from leafkit.methods.method import Topology
from leafkit.methods.setting import Setting
from leafkit.students.student import Student
from leafkit.training.checkpoint import Checkpoints, State
from leafkit.training.companions import Companions
from leafkit.training.data import TrainingData
from leafkit.training.finished import FinishedFit, Result
from leafkit.training.forward import StudentForward
from leafkit.training.loop import Loop, Report
from leafkit.training.run import Run
from leafkit.training.validation import Figures
from leafkit.types import Float32, Int64


class Generations:
    """Trains one or more students of ``run``, one after the other, as a `Training` that a topology can drive.

    After `run` or `fit`, ``trained`` is the last student, ``state`` the final state of its training, and ``data`` the
    texts of the run. ``steps`` is the number of steps of its training, and ``finished`` are its figures if the methods
    changed its head afterwards. ``asked`` is the number of training texts whose teacher vectors were used, and
    ``count`` the number of students trained.
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
        self._names: list[str] = []
        self._peers: dict[str, str] = {}  # the peers that some fits train instead of the student of the run
        self._opened: dict[str, Student] = {}  # these peers as they start, because each ridge start takes a while
        self._used = numpy.zeros(0, dtype=bool)  # the training texts that the fits drew so far, (texts,)
        self.asked = 0

    @property
    def count(self) -> int:
        """The number of students trained so far."""
        return len(self._names)

    def run(self) -> None:
        """Train as the plan's topology says, or one student if there is no topology."""
        (self._run.plan.topology or Topology()).run(self)
        if (last := self._names[-1]) in self._peers:
            raise ValueError(f"the last fit, {last}, trains {self._peers[last]}; expected the student of the run")

    @property
    def setting(self) -> Setting:
        """The training as methods see it, with the student at its start."""
        return self._loop("setting", self._start()).setting()

    def fit(
        self,
        name: str,
        *,
        rows: Int64 | None = None,
        targets: Float32 | None = None,
        start: str | None = None,
        peer: str = "",
    ) -> None:
        """Train a student as `leafkit.methods.method.Training.fit` says, or load it if it is already finished."""
        if not re.fullmatch(r"[A-Za-z0-9-]+", name) or name in self._names:
            raise ValueError(f"a fit is called {name!r}; expected letters, digits and '-', and a name only once")
        if rows is not None and not len(rows):
            raise ValueError(f"the fit {name} has no text to train on; expected at least one row")
        peer = self._peer_of(start, peer)
        student = self._start(start, peer)
        loop = self._loop(name, student, rows, targets)
        finished = FinishedFit(loop.checkpoints.folder)
        # Only a topology comes back to a training that is finished.
        several = self._run.plan.topology is not None
        result = finished.read() if several else None
        if result is None:
            state = loop.train()
            result = Result(state=state, steps=loop.steps, asked=loop.asked, figures=loop.finished)
            if several:
                finished.save(student.model, result)
        else:
            finished.load_into(student.model)
        self.trained, self.state, self.steps, self.finished = student, result.state, result.steps, result.figures
        self._names.append(name)
        if peer:
            self._peers[name] = peer
        self._used[slice(None) if rows is None else rows] = True
        self.asked = min(max(self.asked, result.asked), int(self._used.sum()))

    def student(self, name: str, rows: Int64) -> Float32:
        """Return the vectors (rows, dim) of the training texts ``rows``, written by the student of the fit ``name``."""
        student = self.trained if self._names[-1:] == [name] else self._start(name, self._peers.get(name, ""))
        return self._encode(student, self.data.check_training_rows(rows))

    def encode(self, rows: Int64) -> Float32:
        """Return the vectors that the last trained student gives ``rows``, (rows, dim)."""
        return self._encode(self.trained, rows)

    def _encode(self, student: Student, rows: Int64) -> Float32:
        forward = StudentForward(student.to(self._run.device), self._run.recipe.precision)
        return forward.eval().encode(self.data.tokens, rows)

    def _start(self, name: str | None = None, peer: str = "") -> Student:
        """Return the student of the fit ``name``, or the start of the run or of the ``peer`` if it is None."""
        if name is not None and name not in self._names:
            raise ValueError(f"there is no fit {name!r} yet; there are {', '.join(self._names) or 'none'}")
        student = self._run.open_start()
        if not len(self._used):
            self.data = self._run.open_data(student.layout)
            self._used = numpy.zeros(self.data.train, dtype=bool)
        if peer:
            if peer not in self._opened:
                self._opened[peer] = self._companions.open_peer(peer, student, self.data).student
            student = copy.deepcopy(self._opened[peer])
        if name is not None:
            FinishedFit(self._run.folder.checkpoints(name)).load_into(student.model)
        return student

    def _peer_of(self, start: str | None, peer: str) -> str:
        """Return the peer that a fit trains: that of the fit ``start``, which ``peer`` must not contradict."""
        if start not in self._names:
            return peer
        before = self._peers.get(start, "")
        if peer not in ("", before):
            raise ValueError(f"the fit {start} trained {before or 'no peer'}, so {peer} cannot start there")
        return before

    def _loop(self, name: str, student: Student, rows: Int64 | None = None, targets: Float32 | None = None) -> Loop:
        if targets is not None and targets.shape != (self.data.train, student.head.out_features):
            raise ValueError(f"the targets of {name} have the shape {targets.shape}; expected one row for each text")
        return Loop(
            run=self._run,
            forward=StudentForward(student, self._run.recipe.precision),
            data=replace(self.data, other_targets=targets),
            rows=None if rows is None else self.data.check_training_rows(rows),
            checkpoints=Checkpoints(self._run.folder.checkpoints(name)),
            report=self._report,
            companions=self._companions,
        )
