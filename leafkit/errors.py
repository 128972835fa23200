"""The one exception tree of leafkit; the command line prints these as one message and exits with 1.

LeafkitError
├── InputError          something the user gave is wrong
│   ├── TextError       a row of texts: names file and line
│   ├── VectorError     vectors with NaN, zero rows, wrong width or count
│   ├── OptionError     an option or argument outside its range
│   └── SpaceError      two things that live in different vector spaces
├── DamageError         a file that leafkit wrote is truncated or changed
├── OutputError         the output exists already, or the disk is full
├── ExportError         the exported model does not agree with the trained one
├── TrainingError       training cannot go on (collapse, not a number)
└── MissingExtraError   an optional dependency is not installed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LeafkitError(Exception):
    """Anything leafkit refuses: what was got, what was wanted, what to do."""


class InputError(LeafkitError):
    """Something the user gave is wrong."""


class TextError(InputError):
    """A row of texts cannot be used; the message names file and line."""


class VectorError(InputError):
    """Vectors with NaN, zero rows, the wrong width, or fewer rows than texts."""


class OptionError(InputError):
    """An option or argument has a value outside what it accepts."""


class SpaceError(InputError):
    """Two things that live in different vector spaces were to be used together."""


class DamageError(LeafkitError):
    """A file that leafkit wrote is missing, truncated or changed."""


class OutputError(LeafkitError):
    """The output cannot be written: it holds something already, or the disk is full."""


class ExportError(LeafkitError):
    """The exported model does not give the vectors of the model it came from."""


class TrainingError(LeafkitError):
    """Training cannot go on."""


class MissingExtraError(LeafkitError):
    """A part of leafkit needs packages that are not installed."""

    def __init__(self, package: str, extra: str) -> None:
        """Name the missing ``package`` and the pip command that brings it with ``extra``."""
        super().__init__(f"this needs {package}, which is not installed; run: pip install 'leafkit[{extra}]'")


def nearest(got: str, known: Iterable[str]) -> str:
    """What to say of a name that is none of ``known``."""
    near = difflib.get_close_matches(got, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"wanted one of {', '.join(known)}"
