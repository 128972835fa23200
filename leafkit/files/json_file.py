"""Reading JSON files, with one kind of error message for all invalid files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from leafkit.errors import DamageError, LeafkitError


def read_json_object(file: Path) -> dict[str, Any]:
    """Return the object in the JSON ``file``; raise ValueError if the file holds anything else.

    Call this within `explain_invalid`, which turns the error into a message for the user.
    """
    content = json.loads(file.read_bytes())
    if not isinstance(content, dict):
        raise ValueError(f"the JSON is a {type(content).__name__}, not an object")
    return content


@contextmanager
def explain_invalid(
    file: object, *, expected: str, advice: str, error_type: type[LeafkitError] = DamageError
) -> Iterator[None]:
    """Turn errors from parsing ``file`` into an ``error_type`` that says what was expected, what is wrong, what to do.

    Covers a file that cannot be read, invalid JSON, a missing field and a field of the wrong type. Errors that leafkit
    raised itself pass through unchanged.
    """
    try:
        yield
    except KeyError as error:
        raise error_type(f"{file} is not {expected} (the field {error} is missing). {advice}") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise error_type(f"{file} is not {expected} ({error}). {advice}") from error
