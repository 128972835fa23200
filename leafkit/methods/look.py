"""What a probe sees at one validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy
from numpy.typing import NDArray

from leafkit.methods.ask import Ask
from leafkit.methods.batch import TokenStates
from leafkit.types import Float32, Int64, Role

Side = Literal["student", "teacher"]


class Look(Protocol):
    """The held-out texts at one validation, in one order. Everything is computed when it is first read."""

    @property
    def student(self) -> Float32:
        """The student's vectors, (rows, dim)."""
        ...

    @property
    def teacher(self) -> Float32:
        """The teacher's vectors, (rows, dim)."""
        ...

    @property
    def texts(self) -> Sequence[str]:
        """The texts, (rows,)."""
        ...

    @property
    def labels(self) -> Int64:
        """The classes, (rows,), numbered as those of the training texts; -1 for a text without a known label."""
        ...

    @property
    def methods(self) -> Sequence[str]:
        """The specs of all methods of the training."""
        ...

    @property
    def step(self) -> int:
        """The number of optimiser steps so far."""
        ...

    @property
    def steps(self) -> int:
        """The number of optimiser steps of the whole training."""
        ...

    @property
    def rates(self) -> NDArray[numpy.float64]:
        """The learning rates of all steps of the training, (steps,)."""
        ...

    @property
    def validations(self) -> int:
        """The number of validations that the whole training will have, the one before the first step included."""
        ...

    @property
    def history(self) -> Sequence[Mapping[str, Any]]:
        """The earlier validations in order, including this probe's earlier figures."""
        ...

    @property
    def ask(self) -> Ask | None:
        """Asks the teacher about any text; None unless the probe needs ``online``."""
        ...

    def encode(self, texts: Sequence[str], roles: Sequence[Role]) -> Float32:
        """Return the student's vectors of any ``texts``, (texts, dim); ``roles`` are theirs, in the same order."""
        ...

    def tokens(self, rows: Int64) -> TokenStates:
        """Return the last token states of both sides for the held-out ``rows``; the probe must need ``tokens``."""
        ...
