"""What a method may know of a training before its first step, and the texts it draws from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy
from numpy.typing import NDArray

from leafkit.types import Float32, Int64

Gather = Callable[[Int64], Float32]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One training as methods see it. Rows 0 to ``texts`` are its training texts; the held-out ones do not exist here.

    ``dim`` is the width of the teacher's vectors, ``width`` that of what the student's head sees, ``depth`` how many
    layers the student has (0 for a token table). ``steps`` are all optimiser steps, ``epoch_steps`` those of a pass.
    ``roles`` (0 query, 1 document), ``labels`` (-1 where a text has none), ``domains`` and ``lengths`` (in the
    tokens that the student reads, prompts included) are (texts,).
    ``targets`` gives the teacher's vectors of rows, ``student`` the student's as it is now, both (rows, dim) float32;
    ``teach`` opens another teacher by name and gives its vectors of rows.
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
    teach: Callable[[str], Gather]

    @property
    def texts(self) -> int:
        """How many training texts there are."""
        return len(self.roles)

    def sample(self, most: int) -> Int64:
        """At most ``most`` training rows in ascending order, drawn from the seed."""
        return numpy.sort(numpy.random.default_rng([self.seed, most]).permutation(self.texts)[:most])

    def restricted(self, rows: Int64) -> Setting:
        """Itself as if ``rows`` were all its texts, so that whoever learns from it asks the teacher for no others."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        facts = {name: value[rows] for name, value in values.items() if isinstance(value, numpy.ndarray)}
        targets, student = (lambda some: self.targets(rows[some])), (lambda some: self.student(rows[some]))
        return replace(self, targets=targets, student=student, **facts)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The training rows that the next steps draw from.

    Until the next pool, each row comes once before any comes again; with ``weights``, (rows,) and not negative, each
    comes in proportion.
    """

    rows: Int64
    weights: NDArray[numpy.float64] | None = None
