"""Check the fields of a manifest: types, ranges, and names that stay inside the folder of the index."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from leafkit.search.plan import PRECISIONS, RESCORES

# One or more names, none of them hidden, `..` or absolute: the paths of all files of an index.
_PATH = re.compile(r"[A-Za-z0-9][\w.-]{0,99}(/[A-Za-z0-9][\w.-]{0,99}){0,3}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
# What chooses one of several students of an index, and is part of the name of a folder.
EFFORT = re.compile(r"[a-z0-9][a-z0-9_-]{0,29}", re.ASCII)
FULL = "full"  # the effort of the best student, and of an only one
TEACHER = "teacher"  # no student has this effort: the teacher itself encodes the query
MOST_RUNGS = 16


def check_fields(content: Mapping[str, Any], parts: Mapping[str, str], *, together: Collection[str]) -> None:
    """Raise ValueError for the first field of the manifest ``content`` that no index can have.

    ``parts`` maps each part that an index can have to the suffix of its file. An index has all parts of ``together`` or
    none of them. The field ``space`` is not checked.
    """
    _count(content, "dim", least=1)
    _expect(content["precision"] in PRECISIONS, f"the precision is {content['precision']!r}")
    _expect(content["rescore"] in RESCORES, f"rescore is {content['rescore']!r}")
    _expect(isinstance(content["factory"], str), "the factory is not a string")
    rows = _count(content, "rows")
    _expect(_count(content, "count") <= rows, f"count is larger than rows, {rows}")
    _count(content, "generation")
    loss = content["loss"]
    _expect(isinstance(loss, int | float) and math.isfinite(loss), f"the loss is {loss!r}")
    for name in ("files", "parts", "built"):
        _expect(isinstance(content[name], dict), f"{name} is not an object")
    _check_encoder(content["encoder"])
    _check_files(content["files"])
    _check_parts(content, parts, together)


def _check_encoder(encoder: Any) -> None:
    _expect(encoder is None or isinstance(encoder, dict), "the encoder is not an object")
    if encoder is None or "rungs" not in encoder:
        return
    rungs = encoder["rungs"]
    _expect(isinstance(rungs, dict) and 1 <= len(rungs) <= MOST_RUNGS, f"the rungs are not 1 to {MOST_RUNGS} students")
    for effort, facts in rungs.items():
        _expect(EFFORT.fullmatch(effort) is not None and effort != TEACHER, f"no effort is called {effort[:200]!r}")
        _expect(isinstance(facts, dict), f"what it says of the student {effort} is not an object")
        _expect(isinstance(facts["student"], str), f"the student {effort} has no name")
        _count(facts, "layers")


def _check_files(files: Mapping[str, Any]) -> None:
    for name, facts in files.items():
        _expect(_PATH.fullmatch(name) is not None, f"it names a file outside the index folder: {name[:200]}")
        _expect(isinstance(facts, dict), f"what it says of {name} is not an object")
        _count(facts, "bytes")
        hashed = facts["sha256"]
        _expect(isinstance(hashed, str) and _SHA256.fullmatch(hashed) is not None, f"{name} has no SHA-256")


def _check_parts(content: Mapping[str, Any], known: Mapping[str, str], together: Collection[str]) -> None:
    files, parts = content["files"], content["parts"]
    for part, name in parts.items():
        _expect(part in known, f"an index has no part {part!r}")
        _expect(isinstance(name, str) and name in files and "/" not in name, f"the part {part} is no file of the index")
    optional = {"live", "columns", *(["vectors"] if content["rescore"] == "none" else [])}
    if not parts.keys() & set(together):
        optional |= set(together)
    missing = sorted(known.keys() - parts.keys() - optional)
    _expect(not missing, f"the parts {', '.join(missing)} are missing")


def _count(fields: Mapping[str, Any], name: str, *, least: int = 0) -> int:
    value = fields[name]
    if type(value) is not int or not least <= value < 1 << 62:
        raise ValueError(f"{name} is {value!r}; expected a number from {least}")
    return value


def _expect(fulfilled: bool, problem: str) -> None:
    if not fulfilled:
        raise ValueError(problem)
