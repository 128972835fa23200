"""Options that choose the distillation methods of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from leafkit.methods.method import Method
from leafkit.options import Option, Options

# How LEAF measures the distance between the vectors of student and teacher.
Distance = Literal["norm", "squared", "cosine"]


@dataclass(frozen=True, kw_only=True)
class MethodOptions(Options):
    """Which methods take part in a training; Python also accepts method objects in place of their text form."""

    panel: ClassVar[str] = "Methods"

    methods: Annotated[
        Sequence[str | Method] | None,
        Option(
            "A distillation method and its fields, e.g. sinkd:weight=0.1; see leafkit methods. The losses of several "
            "methods are added.",
            none="leaf",
            flags=("--method",),
            may_be_empty=True,
        ),
    ] = None
    feeds: Annotated[
        Sequence[str | Method] | None,
        Option(
            "A method that chooses or changes the texts of each step, e.g. ddk.",
            none="none",
            flags=("--feed",),
            may_be_empty=True,
        ),
    ] = None
    writers: Annotated[
        Sequence[str | Method] | None,
        Option(
            "A method that writes the training texts, e.g. condense.",
            none="none",
            flags=("--writer",),
            may_be_empty=True,
        ),
    ] = None
    architecture: Annotated[
        str | Method | None,
        Option("A method that searches for the student instead of --student, e.g. diswot.", none="none"),
    ] = None
    budget: Annotated[
        str | None, Option("The limits of an architecture search, e.g. '2M params, 1 ms'.", none="none")
    ] = None
