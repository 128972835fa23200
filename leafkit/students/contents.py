"""The files that decide a student's vectors: which they are, their hashes, and the check before anything loads them.

A student is data. Loaders of models and tokenizers look for files by name, so that one more file in a folder can give
other vectors (an adapter) and one more setting can lead them out of the folder or to code. Therefore every file that a
loader could read must be listed with its hash, and settings that name other files or code are refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any, cast

from leafkit.errors import DamageError
from leafkit.files.json_file import explain_invalid, parse_json, read_bytes, read_json_object
from leafkit.files.regular import open_regular

MARKER, MOMENT = "leafkit.json", "query_moment.npy"
MODULE = re.compile(r"\d+_\w+")
# Endings of files that no loader of models reads. Files without an ending and hidden files belong to them.
HARMLESS = {"", ".md", ".npy", ".csv", ".tsv", ".html", ".log", ".png", ".jpg", ".jpeg", ".svg", ".pdf"}
# Files of leafkit that no loader of models reads: the student's description, and the checksums of a run's texts.
OURS = {MARKER, "checksums.json"}
# Endings of files that a student may have. An adapter, an index of several weight files, pickled weights and code are
# not among them, even if they are listed.
KINDS = {".json", ".safetensors", ".txt", ".model", ".jinja", ".npy", ".npz"}
FOREIGN = re.compile(r"(.*/)?(adapter_.*|.*\.index\.json)")
# Settings that a loader follows to other files, classes outside the library, kernels and other code from a hub.
LEADING = {
    "config.json": r"auto_map|quantization_config|_?(attn|experts)_implementation\w*|\w*backbone\w*",
    "tokenizer_config.json": r"auto_map|.*_files?",
    "sentence_bert_config.json": r".*_or_path|.*_file|cache_dir|(model|tokenizer|processor|config)_(args|kwargs)",
}
# Their harmless values: among them what leafkit writes for BERT.
ALLOWED: tuple[Any, ...] = (None, {}, {"add_pooling_layer": False}, "eager", "sdpa")
COPY = "Copy the student folder again, or distil the student again."


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in ``folder`` that decides the student's vectors, by its path in the folder."""
    return {name: _sha256(folder / name) for name in sorted(deciding_files(folder))}


def check_file(folder: Path, name: str, digest: str) -> None:
    """Raise `DamageError` unless the file ``name`` in ``folder`` is a regular file with the SHA-256 ``digest``."""
    file = folder / name
    if not file.exists():
        raise DamageError(f"{file} is missing. {COPY}")
    with explain_invalid(file, expected="a file of a student", advice=COPY):
        if _sha256(file) != digest:
            raise DamageError(f"{file} is truncated or changed: its SHA-256 differs from the one in {MARKER}. {COPY}")


def check_names(folder: Path, listed: Mapping[str, str], *, complete: bool) -> None:
    """Raise `DamageError` for a file in ``folder`` that loaders could read and a student does not have.

    listed: the files that the student's leafkit.json lists.
    complete: whether ``listed`` are all files of the student; false for students of version 1, which lists weights.
    """
    for name in (*listed, *deciding_files(folder)):
        path = PurePosixPath(name)
        in_place = len(path.parts) == 1 or (len(path.parts) == 2 and MODULE.fullmatch(path.parts[0]))
        if not in_place or path.suffix not in KINDS or FOREIGN.fullmatch(name):
            raise DamageError(f"{folder} holds or lists {name!r}, which no student has. Remove it. {COPY}")
        if complete and name not in listed:
            raise DamageError(
                f"{folder / name} does not belong to the student: {MARKER} does not list it, and it could change the "
                f"vectors. Move it to another folder. {COPY}"
            )


def check_settings(folder: Path) -> None:
    """Raise `DamageError` for settings that lead the loaders of the student in ``folder`` to other files or to code."""
    with explain_invalid(folder / "modules.json", expected="the modules of a student", advice=COPY):
        for module in parse_json(read_bytes(folder / "modules.json")):
            if module["type"] not in _module_types() or not re.fullmatch(f"({MODULE.pattern})?", module["path"]):
                raise ValueError(f"unknown module {module['type']} in {module['path']!r}")
    for name, leading in LEADING.items():
        if (folder / name).is_file():
            with explain_invalid(folder / name, expected="the settings of a student", advice=COPY):
                for key, value in _settings(read_json_object(folder / name)):
                    if re.fullmatch(leading, key) and value not in ALLOWED:
                        raise ValueError(f"a student has no setting {key}")


def _settings(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the settings in ``values`` and in the objects inside."""
    for key, value in values.items():
        yield key, value
        if isinstance(value, dict):
            yield from _settings(value)


def _module_types() -> set[str]:
    from leafkit.students.student import STOCK

    names = [(module.__module__, module.__name__) for module in STOCK]
    return {f"{place}.{name}" for own, name in names for place in (own, "sentence_transformers.models")}


def deciding_files(folder: Path) -> list[str]:
    """Return the paths of those files of the student in ``folder`` that could decide its vectors.

    These are all files in the folder and in the folders of its modules that a loader could read, listed or not.
    """
    places = [folder, *(place for place in folder.iterdir() if MODULE.fullmatch(place.name) and place.is_dir())]
    files = (file for place in places for file in place.iterdir() if not file.is_dir())
    names = [file.relative_to(folder).as_posix() for file in files if not file.name.startswith(".")]
    return [
        name for name in names if name not in OURS and (PurePosixPath(name).suffix not in HARMLESS or name == MOMENT)
    ]


def _sha256(file: Path) -> str:
    with open_regular(file) as opened:
        return hashlib.file_digest(cast(BufferedReader, opened), "sha256").hexdigest()
