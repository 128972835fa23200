"""The exceptions of leafkit. The command line prints their message and exits with code 1.

LeafkitError
├── InputError          the user gave something invalid
│   ├── TextError       a row of texts is invalid; the message names file and line
│   ├── VectorError     vectors contain NaN or zero rows, or have the wrong width or number
│   ├── OptionError     an option or argument has a value outside its range
│   └── SpaceError      two things of different vector spaces were used together
├── DamageError         a file that leafkit wrote is missing, truncated or changed
├── OutputError         the output exists already, or the disk is full
├── EngineError         a database cannot be reached, went away, or refuses
├── ExportError         the exported model does not agree with the trained model
├── ApiError            an API refuses or does not answer
│   └── BudgetError     the budget for an API is spent
├── TrainingError       training cannot continue (collapsed vectors, NaN)
└── MissingExtraError   an optional dependency is not installed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LeafkitError(Exception):
    """Base class of all errors of leafkit. The message says what was got, what was expected and what to do."""


class InputError(LeafkitError):
    """The user gave something invalid."""


class TextError(InputError):
    """A row of texts is invalid; the message names file and line."""


class VectorError(InputError):
    """Vectors contain NaN or zero rows, have the wrong width, or do not match the number of texts."""


class OptionError(InputError):
    """An option or argument has a value outside its range."""


class SpaceError(InputError):
    """Two things that belong to different vector spaces were used together."""


class DamageError(LeafkitError):
    """A file that leafkit wrote is missing, truncated or changed."""


class OutputError(LeafkitError):
    """The output cannot be written: the path exists already, the disk is full, or another process writes there."""


class EngineError(LeafkitError):
    """A database that holds an index cannot be reached, went away, refuses, or holds what leafkit did not write."""


class ExportError(LeafkitError):
    """The exported model does not return the vectors of the model it was exported from."""


class ApiError(LeafkitError):
    """An API refuses a request, does not answer in time, or answers with something else than vectors."""


class BudgetError(ApiError):
    """The budget for an API does not last for the next request. What was answered is kept."""


class TrainingError(LeafkitError):
    """Training cannot continue."""


class MissingExtraError(LeafkitError):
    """A part of leafkit needs a package that is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        """Name the missing ``package`` and the pip command that installs it with the extra ``extra``."""
        super().__init__(f"this needs {package}, which is not installed. Run: pip install 'leafkit[{extra}]'")


def nearest(got: str, known: Iterable[str]) -> str:
    """Return a hint for the unknown name ``got``: the most similar name of ``known``, or else all of them."""
    similar = difflib.get_close_matches(got, known, n=1)
    return f"did you mean {similar[0]!r}?" if similar else f"expected one of {', '.join(known)}"
