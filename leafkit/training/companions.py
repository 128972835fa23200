"""What the methods of a training may use beside the student: the texts, the live teacher, peers, other teachers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from leafkit.errors import OptionError
from leafkit.methods.setting import Gather
from leafkit.training.ask import TeacherAsk
from leafkit.training.live import LiveTeacher
from leafkit.training.peers import Peers


def no_other_teacher(name: str) -> Gather:
    """Raise `OptionError`: this process did not read the texts."""
    raise OptionError(f"the teacher {name} cannot be opened here, because this process has no texts to encode.")


@dataclass(frozen=True, kw_only=True)
class Companions:
    """What methods may use beside the student; the defaults are those of a process that only trains along.

    ``texts`` are the training texts. ``ask`` asks the teacher about any text, and ``live`` is the teacher inside each
    step; both are None unless a method needs them. ``peers`` builds peer students. ``other_teacher`` opens another
    teacher by name and returns a function for its vectors of the training texts.
    """

    texts: Sequence[str] | None = None
    ask: TeacherAsk | None = None
    live: LiveTeacher | None = None
    peers: Peers | None = None
    other_teacher: Callable[[str], Gather] = no_other_teacher
