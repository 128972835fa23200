"""The base classes of all distillation methods. Start here to add one.

A *method* is one way to distil, usually the contribution of one paper. Each method is a frozen dataclass whose
fields are its options. Its kind says which question the method answers, and which function it overrides:

    folder          kind          option          question                                           overrides
    objectives/     Objective     --method        What does the student imitate, at what distance?   terms
    feeds/          Feed          --feed          Which texts, how often, in which view?             feed, views
    writers/        Writer        --writer        Where do the training texts come from?             write
    topologies/     Topology      --method        Who teaches whom, in which rounds?                 run
    architectures/  Architecture  --architecture  What is the student made of?                       pick
    probes/         Probe         --method        What is watched during a training?                 observe

The order of one training:

    check                    with all sizes known, before the teacher encodes a text
    pick, write              the student and the training texts
    reserve, build           once for each fit of a topology; the student is at its start, e.g. its ridge solution
    for each step:
        refresh              before step 0, then every `refresh_every` steps: measure the student as it is now
        feed                 which rows the next steps draw from; one feed after the other, in the order given
        views                the texts of this step, changed or added to
        (forward)            student, and the live teacher if a method needs it: the `Batch`
        terms                one loss per text and name
        (backward, optimiser step)
        after_step           update what the method remembers
        observe              at each validation
    finish                   a last word about the exported head

To add the method NAME, write three files and edit none:

1. ``leafkit/methods/FOLDER/NAME.py`` with one class, a subclass of the kind. The first line of the module docstring is
   the title in ``leafkit methods show NAME``; the class docstring explains the method and each field (``field``: text).
   Inherited fields are explained by their class. Good examples are ``objectives/pld.py``, for feeds
   ``feeds/curriculum.py``, and for feeds that grow their set of texts ``feeds/pcoreset.py`` on its base class.
2. ``tests/methods/FOLDER/test_NAME.py`` with its formulas checked against the paper. The fixtures ``make_setting``,
   ``make_batch`` and ``make_view`` make a training of 120 texts; any field can be given.
3. ``models/recipes/NAME.toml``, a recipe that trains with the method: the command, what the method does and how its
   values were chosen as comments, then arguments of `leafkit.distill`, without texts and models.

``tests/methods/test_contract.py`` then checks the laws that every method obeys. To measure the method as well, see
CONTRIBUTING.md. A package outside leafkit adds a method through the entry-point group ``leafkit.methods``
(`leafkit.methods.registry`).

Everything that a method learns or remembers lives in the module returned by ``build``. The checkpoint saves that
module, so a resumed training equals an uninterrupted one. A method never sees the training loop, the optimiser, the
device or the held-out texts. What it may know is in `Facts` and `Setting`, and each step's texts are in `View` and
`Batch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy

from leafkit.errors import OptionError
from leafkit.methods.setting import Facts, Pool, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.methods.ask import Ask
    from leafkit.methods.batch import Batch, View
    from leafkit.methods.budget import Budget
    from leafkit.methods.look import Look
    from leafkit.students.head import Linear
    from leafkit.students.spec import Pooling
    from leafkit.texts.table import TextTable
    from leafkit.types import Float32, Int64


@dataclass(frozen=True, kw_only=True)
class Method:
    """A distillation method; its fields are its options.

    Class attributes state facts about the method. ``kind`` and ``option`` are set by the kind: the word for it, and
    the argument of `leafkit.distill` (also the key of a recipe) that accepts it. ``paper`` is the link to the paper.
    ``off`` gives the field values that disable the method: training is then plain LEAF, bit for bit.
    ``reconstruction`` lists what differs from the paper and what the paper leaves open; empty if nothing.
    ``small`` gives field values that suit two hundred texts, for tests. ``elicits``, ``learns_by``, ``skills`` and
    ``verticals`` are the method's categories in the table of `leafkit.methods.coverage`, which lists the words: how
    knowledge is got out of the teacher, by which algorithms the student learns it, for which skills, and for which
    fields (empty for all). A method that teaches the student nothing, such as a probe, has none of them.
    """

    kind: ClassVar[str]
    option: ClassVar[str]
    paper: ClassVar[str]
    off: ClassVar[Mapping[str, Any]]
    reconstruction: ClassVar[str] = ""
    small: ClassVar[Mapping[str, Any]] = {}
    elicits: ClassVar[tuple[str, ...]] = ()
    learns_by: ClassVar[tuple[str, ...]] = ()
    skills: ClassVar[tuple[str, ...]] = ()
    verticals: ClassVar[tuple[str, ...]] = ()

    @property
    def needs(self) -> frozenset[str]:
        """The signals that the method requires with its present fields; by default the teacher's vectors are enough.

        ``labels``, ``pairs`` and ``domains`` of the texts; ``layers`` of the student, and ``states`` for the states of
        each token after them; ``tokens`` for `Batch.tokens`; ``live`` for a teacher inside the step; ``online`` for
        `Setting.ask`; ``model`` for a teacher whose layers are accessible.
        """
        return frozenset()

    @property
    def peers(self) -> Sequence[str]:
        """The names of the peer students that the method trains; they are checked before the teacher encodes a text."""
        return ()

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the method cannot work with these sizes; called before the teacher encodes a text."""

    def check_fields(self, checks: Mapping[str, tuple[bool, str]]) -> None:
        """Raise `OptionError` for the first invalid field; ``checks`` maps a field to (is valid, expected values)."""
        for name, (valid, expected) in checks.items():
            if not valid:
                method = type(self).__module__.rpartition(".")[2]
                raise OptionError(f"{method}:{name} is {getattr(self, name)!r}; expected {expected}")


@dataclass(frozen=True, kw_only=True)
class StepMethod(Method):
    """A method that takes part in every training step: an objective or a feed.

    ``weight``: multiplies the losses of the method.

    ``cannot_train_alone``, ``moves_target`` and ``mixes_texts`` are facts that decide which methods work together.
    The first says that the losses ignore which student vector belongs to which text, so another objective is needed.
    The second says that the target moves towards the teacher over time; a training accepts one such method.
    The third says that a feed joins training texts into new ones.
    """

    off: ClassVar[Mapping[str, Any]] = {"weight": 0.0}
    cannot_train_alone: ClassVar[bool] = False
    moves_target: ClassVar[bool] = False
    mixes_texts: ClassVar[bool] = False

    weight: float = 1.0

    @property
    def remembers_texts(self) -> bool:
        """Whether `terms` or `after_step` look up what is stored by `Batch.rows`; this excludes feeds that mix texts.

        A feed that only picks rows leaves this False.
        """
        return False

    @property
    def other_teachers(self) -> Sequence[str]:
        """The names of the other teachers that `build` opens; they are checked before the teacher encodes a text."""
        return ()

    @property
    def refresh_every(self) -> int:
        """The number of steps between two calls of `refresh`; 0 calls it only before the first step.

        A resumed training does not repeat a call, because the checkpoint holds the result.
        """
        return 0

    def reserve(self, facts: Facts) -> Int64:
        """Return the training rows, ascending, that no step may draw; the method asks for them by `Setting.batch`.

        The teacher encodes reserved texts, and a ridge start uses their vectors, but no step trains on them and no
        other method is told their labels or pairs. Other methods can read their vectors. An empty array reserves
        nothing. All methods reserve before any is built, so ``setting.reserved`` in `build` has the method's own rows.
        """
        return numpy.zeros(0, dtype=numpy.int64)

    def build(self, setting: Setting) -> nn.Module:
        """Return a module that holds everything the method learns or remembers.

        Parameters are trained together with the student, with the same optimiser settings. Buffers are saved in
        checkpoints. A peer student (`Setting.open`) in the module is trained and saved with it. torch's random state is
        seeded around this call.
        """
        from torch import nn

        return nn.Module()

    def refresh(self, state: Any, setting: Setting, step: int) -> None:
        """Measure the current student and store the result in ``state``; see `refresh_every`. No gradients."""

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the losses by name, each of shape (rows,): one unreduced number per text.

        ``state`` is the module from `build`. The training loop multiplies each loss by ``weight``. A method that
        weighs its own terms against each other has fields for that.
        """
        return {}

    def after_step(self, batch: Batch, terms: dict[str, Tensor], state: Any) -> None:
        """Update ``state`` after an optimiser step; no gradients are recorded, and ``terms`` are detached."""

    def finish(self, state: Any, head: Linear) -> Linear:
        """Return the head of the exported student, (dim, width) and (dim,); by default the trained ``head``."""
        return head


@dataclass(frozen=True, kw_only=True)
class Objective(StepMethod):
    """What the student imitates and how the distance is measured; subclasses override ``terms``."""

    kind: ClassVar[str] = "objective"
    option: ClassVar[str] = "methods"


@dataclass(frozen=True, kw_only=True)
class Feed(StepMethod):
    """Which texts are trained on, how often and in which view; override ``refresh`` and ``feed``, or ``views``.

    ``every``: number of steps between two calls of ``refresh``; 0 calls it only before the first step.
    ``weight``: multiplies the loss of the feed; most feeds add none.
    """

    kind: ClassVar[str] = "feed"
    option: ClassVar[str] = "feeds"

    every: int = 0

    @property
    def refresh_every(self) -> int:
        """The field ``every``."""
        return self.every

    def feed(self, pool: Pool, state: Any) -> Pool:
        """Return the part of ``pool`` to draw texts from, or ``pool`` itself to use all of it.

        ``pool`` is what earlier feeds left, without reserved rows. Keep its weights, or multiply them.
        The choice may depend only on what `refresh` stored in ``state``, because a resumed training calls `feed` again.
        """
        return pool

    def start_rows(self, texts: int, seed: int) -> Int64 | None:
        """Return the training rows, ascending, whose vectors a ridge start may use; None for all ``texts``.

        A feed that spends a budget of teacher calls gives the rows that it asks about before the first step.
        """
        return None

    def teacher_calls(self, texts: int, state: Any) -> int:
        """Return how many of the ``texts`` training texts the teacher had to encode so far; by default all.

        The record of the student shows the number as ``asked``.
        """
        return texts

    def views(self, view: View, state: Any) -> View:
        """Return the texts and targets of this step after the feed has changed them.

        The given texts keep their order. Further views of them may follow, with `View.origin` naming their texts. If
        the feed needs ``live``, the live teacher encodes all texts whose tokens changed, so their ``teacher`` need not
        be set. `View.embed` leaves the target as it is.
        """
        return view

    def answered(self, view: View, state: Any) -> View:
        """Return the texts of this step after the live teacher has encoded what `views` changed or added.

        Only for a feed that needs ``live``. Texts that `views` added may be left out.
        """
        return view


class Training(Protocol):
    """The trainings that a topology drives, each with a name; each one is resumable."""

    @property
    def setting(self) -> Setting:
        """The training as methods see it, with the student at its start."""
        ...

    def fit(
        self,
        name: str,
        *,
        rows: Int64 | None = None,
        targets: Float32 | None = None,
        start: str | None = None,
        peer: str = "",
    ) -> None:
        """Train a student; it becomes the current student and the result, unless another fit follows.

        ``name`` is a word of letters, digits and ``-``. ``rows`` are the training texts that steps draw, by default
        all. ``targets``, (training texts, dim), replace the teacher's vectors. ``start`` names an earlier fit whose
        student is the start, by default the start of the run. ``peer``, one of `Method.peers`, trains a student of
        another kind instead, which cannot be the result. A fit that an interrupted run already finished is loaded and
        not trained again.
        """
        ...

    def student(self, name: str, rows: Int64) -> Float32:
        """Return the vectors (rows, dim) of the training texts ``rows``, written by the student of the fit ``name``."""
        ...


@dataclass(frozen=True, kw_only=True)
class Topology(Method):
    """Who teaches whom, in which rounds; subclasses override ``run``."""

    kind: ClassVar[str] = "topology"
    option: ClassVar[str] = "methods"

    def run(self, training: Training) -> None:
        """Drive all rounds of ``training``; the student of the last ``fit`` is the result."""
        training.fit("first")


@dataclass(frozen=True, kw_only=True)
class Writer(Method):
    """Where the training texts come from; subclasses override ``write``."""

    kind: ClassVar[str] = "writer"
    option: ClassVar[str] = "writers"

    def write(self, texts: TextTable, ask: Ask, seed: int) -> TextTable:
        """Return the texts to train on, made or chosen from ``texts``; ``ask`` encodes texts with the teacher.

        Called before any text is tokenised, and again when a run resumes. A writer that asks about texts that it wrote
        needs ``online``.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class PickedStudent:
    """The student that an architecture search found.

    ``config`` is a transformers config, as ``fresh:CONFIG.json`` reads it. ``pooling`` is ``mean``, ``cls`` or
    ``lasttoken``. ``weights`` is a folder with the weights of such a transformer, or None for random ones.
    """

    config: dict[str, Any]
    pooling: Pooling = "mean"
    weights: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Architecture(Method):
    """A search for the student within a budget; subclasses override ``pick``."""

    kind: ClassVar[str] = "architecture"
    option: ClassVar[str] = "architecture"

    def pick(self, teacher: Any, texts: Sequence[str], budget: Budget, seed: int) -> PickedStudent:
        """Return a student within ``budget``.

        ``teacher`` is the teacher's sentence-transformers model and ``texts`` are the training texts. Called once,
        before the training starts.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Probe(Method):
    """What is watched during a training; subclasses override ``observe``. A probe never changes the training.

    ``every``: number of validations from one observation to the next; 0 for never.
    """

    kind: ClassVar[str] = "probe"
    option: ClassVar[str] = "methods"
    off: ClassVar[Mapping[str, Any]] = {"every": 0}

    every: int = 1

    def observe(self, look: Look) -> dict[str, Any]:
        """Return the figures of one validation, and optionally ``events``, a list of strings."""
        raise NotImplementedError
