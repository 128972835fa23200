"""What a method may know about a training: sizes, facts about the texts, and vectors on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy
from numpy.typing import NDArray

from leafkit.types import Float32, Int64

Gather = Callable[[Int64], Float32]
"""A function from training rows, (rows,), to their vectors, (rows, dim) float32."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One training as a method sees it. Rows number the training texts from 0; held-out texts have no row.

    ``dim`` is the width of the teacher's vectors, ``width`` the width of the student's states before the head, and
    ``depth`` the number of layers of the student (0 for a token table). ``steps`` is the number of optimiser steps of
    the whole training, ``epoch_steps`` the number of steps in one epoch.

    ``roles`` (0 query, 1 document), ``labels`` (-1 for a text without a label), ``domains`` and ``lengths`` are
    arrays of shape (texts,). Lengths are in tokens of the student, prompts included.

    ``targets`` returns the teacher's vectors of some rows, ``student`` the current student's vectors of some rows.
    ``other_teacher`` opens another teacher by name and returns a function for the vectors of that teacher.
    """

    dim: int
    width: int
    depth: int
    steps: int
    epoch_steps: int
    batch_size: int
    seed: int
    roles: Int64
    labels: Int64
    domains: Int64
    lengths: Int64
    targets: Gather
    student: Gather
    other_teacher: Callable[[str], Gather]

    @property
    def texts(self) -> int:
        """The number of training texts."""
        return len(self.roles)

    def sample(self, most: int) -> Int64:
        """Return at most ``most`` training rows in ascending order, drawn from the seed."""
        return numpy.sort(numpy.random.default_rng([self.seed, most]).permutation(self.texts)[:most])

    def restricted(self, rows: Int64) -> Setting:
        """Return this setting with ``rows`` as its only texts, renumbered from 0.

        Code that learns from the restricted setting cannot ask the teacher for any other text.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        facts = {name: value[rows] for name, value in values.items() if isinstance(value, numpy.ndarray)}
        return replace(
            self,
            targets=lambda chosen: self.targets(rows[chosen]),
            student=lambda chosen: self.student(rows[chosen]),
            **facts,
        )


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The training rows that the next steps draw from.

    Without ``weights``, each row is drawn once before any row is drawn again, until the next pool replaces this one.
    With ``weights`` (rows,), not negative, each row is drawn in proportion to its weight.
    """

    rows: Int64
    weights: NDArray[numpy.float64] | None = None
