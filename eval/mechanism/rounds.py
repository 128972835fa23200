"""The trainings of a topology in the laboratory: several students by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from eval.mechanism.texts import LabTexts
from eval.mechanism.training import Job, Trained, setting_of, train
from leafkit.methods.method import Topology
from leafkit.methods.setting import Setting
from leafkit.types import Float32, Int64


class LabRounds:
    """Trains students on ``texts`` with LEAF as a topology asks, each as long as ``job`` says.

    It has the functions of `leafkit.methods.method.Training`. ``last`` is the student of the last fit.
    """

    def __init__(self, texts: LabTexts, job: Job) -> None:
        """Start without a student."""
        self._texts, self._job = texts, job
        self._trained: dict[str, Trained] = {}

    @property
    def setting(self) -> Setting:
        """The training as methods see it, with the student at its start."""
        return setting_of(self._texts, self._job)

    @property
    def last(self) -> Trained:
        """The student of the last fit."""
        return list(self._trained.values())[-1]

    def trained(self, name: str) -> Trained:
        """Return the student of the fit ``name``."""
        return self._trained[name]

    def fit(
        self,
        name: str,
        *,
        rows: Int64 | None = None,
        targets: Float32 | None = None,
        start: str | None = None,
        peer: str = "",
    ) -> None:
        """Train the student ``name``; see `leafkit.methods.method.Training`.

        The number after a last ``=`` in ``peer`` is the depth of a peer.
        """
        texts = self._texts if targets is None else replace(self._texts, vectors=targets)
        texts = texts if rows is None else texts.choose(rows)
        begin = None if start is None else self._trained[start].student
        digits = peer.rpartition("=")[2]
        job = replace(self._job, depth=int(digits)) if digits.isdecimal() else self._job
        job = job if begin is None else replace(job, depth=len(begin.layers))
        self._trained[name] = train(["leaf"], texts, job, begin)

    def student(self, name: str, rows: Int64) -> Float32:
        """Return the vectors (rows, dim) of the texts ``rows`` by the student ``name``."""
        return self._trained[name].student.encode(self._texts.features[rows])


def run_rounds(topology: Topology, texts: LabTexts, job: Job) -> Trained:
    """Let ``topology`` drive its trainings on ``texts``, and return the student of the last one."""
    rounds = LabRounds(texts, job)
    topology.run(cast(Any, rounds))
    return rounds.last
