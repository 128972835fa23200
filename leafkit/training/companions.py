"""What the methods of a training may use beside the student: the texts, the live teacher, peers, other teachers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leafkit.errors import OptionError
from leafkit.methods.setting import Gather
from leafkit.students.student import Student
from leafkit.training.ask import TeacherAsk
from leafkit.training.corpus import Corpus
from leafkit.training.data import TrainingData
from leafkit.training.forward import StudentForward
from leafkit.training.live import LiveTeacher
from leafkit.training.peers import Peers
from leafkit.types import Int64


def no_other_teacher(name: str) -> Gather:
    """Raise `OptionError`: this process did not read the texts."""
    raise OptionError(f"the teacher {name} cannot be opened here, because this process has no texts to encode.")


@dataclass(frozen=True, kw_only=True)
class Companions:
    """What methods may use beside the student; the defaults are those of a process that only trains along.

    ``corpus`` are the texts. ``ask`` asks the teacher about any text, and ``live`` is the teacher inside each
    step; both are None unless a method needs them. ``peers`` builds peer students. ``other_teacher`` opens another
    teacher by name and returns a function for its vectors of the training texts.
    """

    corpus: Corpus | None = None
    ask: TeacherAsk | None = None
    live: LiveTeacher | None = None
    peers: Peers | None = None
    other_teacher: Callable[[str], Gather] = no_other_teacher

    def texts_of(self, rows: Int64) -> list[str]:
        """Return the training texts ``rows``; raise `TypeError` in a process that did not read the texts."""
        if self.corpus is None:
            raise TypeError("this process did not read the texts")
        return [self.corpus.train.texts[int(row)] for row in rows]

    def open_peer(self, name: str, beside: Student, data: TrainingData) -> StudentForward:
        """Build the peer ``name`` of the student ``beside``; raise `TypeError` in a process that only trains along."""
        if self.peers is None:
            raise TypeError("only the main process of a training can open a peer student")
        return self.peers.open(name, beside, data)
