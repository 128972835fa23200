"""Reading JSON files with limits and one kind of error message for all invalid files, and writing standard JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from leafkit.errors import DamageError, InputError, LeafkitError
from leafkit.files.regular import open_regular

# The most bytes of a JSON file. In memory the content takes up to 25 times as much.
MOST_BYTES = 1 << 24
# The most lists and objects inside each other. Python's own limit depends on its version and on the caller.
DEEPEST = 100


def read_json_object(file: Path, *, most_bytes: int = MOST_BYTES, follow_links: bool = True) -> dict[str, Any]:
    """Return the object in the JSON ``file``; raise ValueError if the file holds anything else.

    most_bytes: the largest accepted size of the file.
    follow_links: see `open_regular`.

    Call this within `explain_invalid`, which turns the error into a message for the user.
    """
    return parse_json_object(read_bytes(file, most_bytes=most_bytes, follow_links=follow_links))


def read_bytes(file: Path, *, most_bytes: int = MOST_BYTES, follow_links: bool = True) -> bytes:
    """Return the content of the regular ``file``; raise ValueError for more than ``most_bytes``."""
    with open_regular(file, follow_links=follow_links) as opened:
        content = opened.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"the file is larger than {most_bytes} bytes")
    return content


def parse_json_object(content: bytes | str) -> dict[str, Any]:
    """Return the object in the JSON ``content``; raise ValueError if it is anything else."""
    value = parse_json(content)
    if not isinstance(value, dict):
        raise ValueError(f"the JSON is a {type(value).__name__}, not an object")
    return value


def parse_json(content: bytes | str) -> Any:
    """Return the value of the JSON ``content``.

    Raises ValueError for invalid JSON or UTF-8, for a number of more than 4,300 digits, and for more than 100 lists
    and objects inside each other. NaN and Infinity are accepted, because leafkit writes them.
    """
    try:
        value = json.loads(content)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    if _is_deeper(value, DEEPEST):
        raise ValueError(f"the JSON is nested more than {DEEPEST} levels deep")
    return value


@contextmanager
def explain_invalid(
    file: object, *, expected: str, advice: str, error_type: type[LeafkitError] = DamageError
) -> Iterator[None]:
    """Turn errors from reading ``file`` into an ``error_type`` that says what was expected, what is wrong, what to do.

    Covers a file that is missing or not a regular file, invalid content, a missing field and a field of the wrong type.
    A file that the user may not read is an `InputError`. Errors that leafkit raised itself pass through unchanged.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise error_type(f"{file} is missing. {advice}") from error
    except PermissionError as error:
        raise InputError(f"cannot read {file}: permission denied. Give your user the right to read it.") from error
    except KeyError as error:
        raise error_type(f"{file} is not {expected} (the field {error} is missing). {advice}") from error
    except (OSError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise error_type(f"{file} is not {expected} ({error}). {advice}") from error


def standard_json(value: Any, *, ascii_only: bool = True) -> str:
    """Return ``value`` as JSON, which every parser reads: NaN and infinities, which JSON lacks, become null.

    ascii_only: write other characters as escapes. Half of a surrogate pair stays what it is.
    """
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=ascii_only, separators=(",", ":"))
    except ValueError:
        return standard_json(_finite(value), ascii_only=ascii_only)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_deeper(value: Any, levels: int) -> bool:
    """Tell whether more than ``levels`` lists and objects of ``value`` are inside each other."""
    containers = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        inside = [one.values() if isinstance(one, dict) else one for one in containers]
        containers = [item for items in inside for item in items if isinstance(item, (dict, list))]
        if not containers:
            return False
    return bool(containers)
