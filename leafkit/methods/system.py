"""What every distillation system is: a frozen dataclass whose fields are its recipe, with the verbs of its folder.

A system NAME is one file, leafkit/kd/FOLDER/NAME.py, in the folder of the question it answers, holding one class;
beside it stand its own test, tests/kd/FOLDER/test_NAME.py, and a recipe, models/recipes/NAME.toml. It overrides only
the verbs it needs; everything that it learns or remembers lives in the module that ``build`` gives back, so that a
checkpoint holds it and a resumed run equals an uninterrupted one. No system sees the loop, the optimiser, the
device or held-out texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from leafkit.errors import OptionError
from leafkit.methods.setting import Pool, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.methods.batch import Batch, View
    from leafkit.methods.budget import Budget
    from leafkit.texts.table import TextTable
    from leafkit.types import Float32


@dataclass(frozen=True, kw_only=True)
class System:
    """The facts that each system states about itself.

    ``paper`` is its link. ``needs`` names signals, any of: ``labels`` and ``domains`` of the texts, ``layers`` of the
    student, ``online`` for a teacher that encodes new texts during training, ``model`` for a teacher whose layers can
    be had. ``off`` are the field values under which it changes nothing, bit for bit.
    ``reconstruction`` says what of it is ours and not the paper's; empty if nothing is.
    """

    paper: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    off: ClassVar[Mapping[str, Any]]
    reconstruction: ClassVar[str] = ""

    def require(self, wanted: Mapping[str, tuple[bool, str]]) -> None:
        """Raise `OptionError` for the first field that is not as ``wanted``: whether it is, and what it is to be."""
        for name, (fine, words) in wanted.items():
            if not fine:
                system = type(self).__module__.rpartition(".")[2]
                raise OptionError(f"{system}:{name} is {getattr(self, name)!r}; wanted {words}")


@dataclass(frozen=True, kw_only=True)
class Method(System):
    """A system that takes part in the steps of a training; ``weight`` multiplies its losses.

    ``blind`` says that its losses do not know which text is which, so that it cannot train alone; ``moves_target``
    that it imitates something that wanders to the teacher in time, of which a plan can hold one; ``remembers`` that it
    looks up by row what it knows of a text, which is of no use where a feed ``splices`` texts.
    """

    off: ClassVar[Mapping[str, Any]] = {"weight": 0.0}
    blind: ClassVar[bool] = False
    moves_target: ClassVar[bool] = False
    remembers: ClassVar[bool] = False
    splices: ClassVar[bool] = False

    weight: float = 1.0

    def build(self, setting: Setting) -> nn.Module:
        """All that is learned or remembered: parameters are trained beside the student, buffers are kept.

        torch's random state is seeded around this call. Nothing of it is part of the exported student.
        """
        from torch import nn

        return nn.Module()

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Losses by name, each (rows,): one number per text, unreduced; the loop multiplies them by ``weight``.

        What a method weighs its own terms by beside that is its own affair, and a field of its own.
        """
        return {}

    def tick(self, batch: Batch, terms: dict[str, Tensor], state: Any) -> None:
        """Advance what ``state`` remembers after an optimiser step; ``terms`` are detached, nothing has a gradient."""


@dataclass(frozen=True, kw_only=True)
class Objective(Method):
    """What is imitated, and how the distance is measured: overrides ``terms``."""


@dataclass(frozen=True, kw_only=True)
class Feed(Method):
    """Which texts are trained on, how often and in what view: overrides ``feed`` with ``refresh``, or ``views``.

    ``every`` is the number of steps from one ``refresh`` to the next; 0 for never.
    """

    every: int = 0

    def refresh(self, state: Any, setting: Setting, step: int) -> None:
        """Look at the student again and note in ``state`` what is to be drawn; at step 0 and each ``every`` steps."""

    def feed(self, pool: Pool, state: Any) -> Pool:
        """The part of ``pool`` to draw from, by what ``refresh`` left in ``state``; ``pool`` itself if all of it.

        What else changes ``state`` must not change the choice: a resumed training asks again for the same.
        """
        return pool

    def asked(self, texts: int, state: Any) -> int:
        """Of how many of the ``texts`` training texts the teacher was asked so far; all, unless it is spared some."""
        return texts

    def views(self, view: View, state: Any) -> View:
        """What the student sees of a step's texts, and what it is to write; as many rows in the same order."""
        return view


class Training(Protocol):
    """What a topology drives: trainings from one start, each resumable, on targets that it may change."""

    setting: Setting

    def fit(self, generation: int, targets: Float32 | None = None) -> None:
        """Train a student from the start, on ``targets`` (texts, dim) or the teacher's; afterwards it is the student.

        A generation that an earlier, interrupted run finished is not trained again.
        """
        ...

    def student(self, rows: Any) -> Float32:
        """The vectors that the last fitted student writes for training ``rows``."""
        ...


@dataclass(frozen=True, kw_only=True)
class Topology(Method):
    """Who teaches whom, in which rounds: overrides ``run``, or has further teachers take part in ``terms``."""

    def run(self, training: Training) -> None:
        """Drive all rounds; the student of the last ``fit`` is the result."""
        training.fit(0)


@dataclass(frozen=True, kw_only=True)
class Writer(System):
    """Where texts come from: ``write`` runs once, before any is tokenised."""

    def write(self, texts: TextTable, vectors: Float32, seed: int) -> TextTable:
        """The texts to train on, made or chosen from ``texts`` with their teacher vectors (texts, dim)."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Architecture(System):
    """What the student is: ``pick`` runs once, before anything else."""

    def pick(self, teacher: Any, texts: Sequence[str], budget: Budget, seed: int) -> dict[str, Any]:
        """A transformers config, as ``fresh:CONFIG.json`` takes it, of a student within ``budget``.

        ``teacher`` is the teacher's sentence-transformers model, ``texts`` training texts.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Probe(System):
    """What is watched: ``observe`` is called at every validation; it never touches the training.

    ``every`` is the number of validations from one observation to the next; 0 for never.
    """

    off: ClassVar[Mapping[str, Any]] = {"every": 0}

    every: int = 1

    def observe(self, student: Float32, teacher: Float32, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Figures and ``events`` (a list of strings, may be absent) of held-out vectors, both (rows, dim).

        ``history`` holds the earlier validations in order, with this probe's own earlier figures among them.
        """
        raise NotImplementedError
