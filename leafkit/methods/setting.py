"""What a method may know about a training: sizes, facts about the texts, and vectors on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy
from numpy.typing import NDArray

from leafkit.types import Float32, Int64

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.methods.ask import Ask
    from leafkit.methods.batch import Batch

Gather = Callable[[Int64], Float32]
"""A function from training rows, (rows,), to their vectors, (rows, dim) float32."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a training before the teacher encodes a text. Rows number the training texts from 0.

    ``dim`` is the width of the teacher's vectors, ``width`` the width of the student's states before the head, and
    ``depth`` the number of layers of the student (0 for a token table). ``steps`` is the number of optimiser steps of
    the whole training, ``epoch_steps`` the number of steps in one epoch, and ``validations`` the number of validations,
    the one at the start included.

    ``roles`` (0 query, 1 document), ``labels`` (-1 for a text without a label) and ``domains`` are arrays of shape
    (texts,). ``pairs``, (pairs, 2), has the row of a query and the row of a document that answers it in each line.
    ``texts_of`` returns the texts of training rows.
    """

    dim: int
    width: int
    depth: int
    steps: int
    epoch_steps: int
    validations: int
    batch_size: int
    seed: int
    roles: Int64
    labels: Int64
    domains: Int64
    pairs: Int64
    texts_of: Callable[[Int64], list[str]]

    @property
    def texts(self) -> int:
        """The number of training texts."""
        return len(self.roles)

    @property
    def classes(self) -> int:
        """The number of classes: the largest label plus 1, 0 without labels."""
        return int(self.labels.max(initial=-1)) + 1

    def sample(self, most: int) -> Int64:
        """Return at most ``most`` training rows in ascending order, drawn from the seed."""
        return numpy.sort(numpy.random.default_rng([self.seed, most]).permutation(self.texts)[:most])


@dataclass(frozen=True, kw_only=True)
class Setting(Facts):
    """One training as a method sees it. Held-out texts have no row.

    ``lengths`` (texts,) are in tokens of the student, prompts included. ``reserved`` are the rows that the method
    itself reserved. ``withheld`` are all rows that no step draws: those that any method reserved, and those that a
    topology leaves out of this fit. ``head_bias`` says whether the student's head has a bias.

    Functions of training rows: ``targets`` returns the teacher's vectors as numpy arrays, ``student`` the current
    student's vectors at the cost of a forward pass, ``hidden`` the inputs of the current student's head, (rows, width),
    and ``batch`` the current student's `Batch` with gradients. Vectors are of unit length if the teacher's are.

    ``ask`` encodes any text with the teacher; None unless a method needs ``online``. ``live`` computes with the teacher
    inside a step, on token ids; None unless a method needs ``live`` or ``tokens``. ``open`` builds a peer student from
    its name, such as ``teacher:layers=3``, with a ridge head. ``other_teacher`` opens another teacher by name and
    returns a function for the vectors of that teacher.
    """

    lengths: Int64
    reserved: Int64
    head_bias: bool = True
    withheld: Int64 = field(default_factory=lambda: numpy.zeros(0, dtype=numpy.int64))
    targets: Gather
    student: Gather
    hidden: Gather
    batch: Callable[[Int64], Batch]
    ask: Ask | None
    live: Live | None
    open: Callable[[str], nn.Module]
    other_teacher: Callable[[str], Gather]

    @property
    def drawn(self) -> Int64:
        """The rows that steps may draw, ascending: all but those ``withheld``."""
        return numpy.setdiff1d(numpy.arange(self.texts), self.withheld)

    def restricted(self, rows: Int64) -> Setting:
        """Return this setting with ``rows`` as its only texts, renumbered from 0, without pairs.

        Code that learns from the restricted setting cannot ask a teacher for any other text. The ``rows`` of a batch
        keep their numbers in this setting.
        """
        of_texts = ("roles", "labels", "domains", "lengths")
        of_rows = ("targets", "student", "hidden", "texts_of", "batch")
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        none = numpy.zeros(0, dtype=numpy.int64)
        return replace(
            self,
            pairs=none.reshape(0, 2),
            reserved=none,
            withheld=none,
            other_teacher=lambda name: _renumbered(self.other_teacher(name), rows),
            ask=None,
            live=None,
            **{name: values[name][rows] for name in of_texts},
            **{name: _renumbered(values[name], rows) for name in of_rows},
        )


def _renumbered(function: Callable[[Int64], Any], rows: Int64) -> Callable[[Int64], Any]:
    return lambda chosen: function(rows[chosen])


class Live(Protocol):
    """The frozen teacher inside a step, on the student's own token ids. It computes in float32 or bfloat16."""

    @property
    def depth(self) -> int:
        """The number of layers of the teacher."""
        ...

    def vectors(self, features: dict[str, Tensor]) -> Tensor:
        """Return the target vectors of the texts, (rows, dim) float32, without gradients."""
        ...

    def states(self, features: dict[str, Tensor], layer: int) -> Tensor:
        """Return the token states after ``layer`` layers (0: the embeddings), (rows, length, width), no gradients."""
        ...

    def onward(self, states: Tensor, features: dict[str, Tensor], layer: int) -> Tensor:
        """Run the layers after ``layer`` on ``states`` and return the target vectors, (rows, dim).

        The gradient flows to ``states``, not to the teacher's parameters.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The training rows that the next steps draw from.

    Without ``weights``, each row is drawn once before any row is drawn again, until the next pool replaces this one.
    With ``weights`` (rows,), not negative, each row is drawn in proportion to its weight.
    """

    rows: Int64
    weights: NDArray[numpy.float64] | None = None
