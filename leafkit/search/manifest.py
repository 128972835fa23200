"""What an index package says about itself: every file with its hash, the space, and how it was built."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import faiss
import numpy

from leafkit.command import command_line
from leafkit.errors import DamageError, InputError
from leafkit.files.atomic import write_file
from leafkit.files.digest import sha256_file
from leafkit.search.documents import DocumentFiles
from leafkit.space import Space
from leafkit.version import __version__

MANIFEST = "manifest.json"
FORMAT = "leafkit-index"
VERSION = 1
METRIC = "cosine"
ENCODER = "encoder"

# What each part of an index is called before its generation number, and its suffix.
PARTS = {
    "index": "faiss",
    "documents": "jsonl",
    "offsets": "npy",
    "keys": "npy",
    "rows": "npy",
    "vectors": "npy",
    "live": "npy",
}
DOCUMENT_PARTS = ("documents", "offsets", "keys", "rows")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a package holds. ``parts`` names the file of each part; ``files`` has hash and size of every file.

    ``rows`` counts the vectors in the index and ``count`` those that are not removed. ``loss`` is the median
    loss of cosine by storage when the index was built. ``encoder`` is None in a package without a student.
    """

    space: Space
    dim: int
    precision: str
    factory: str
    rescore: str
    rows: int
    count: int
    loss: float
    generation: int
    parts: Mapping[str, str]
    files: Mapping[str, Mapping[str, Any]]
    encoder: Mapping[str, Any] | None
    built: Mapping[str, Any]

    @property
    def metric(self) -> str:
        """What a score is."""
        return METRIC

    def path(self, folder: Path, part: str) -> Path:
        """The file of ``part`` in ``folder``."""
        return folder / self.parts[part]

    def document_files(self, folder: Path) -> DocumentFiles:
        """The files of the documents in ``folder``."""
        return document_files(folder, self.parts)

    def dump(self) -> str:
        """The manifest's text: readable JSON with the hash of its own content."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        content = {"format": FORMAT, "version": VERSION, "metric": METRIC, **fields, "space": self.space.to_json()}
        return _dump({**content, "sha256": _hash(content)})


def how() -> dict[str, Any]:
    """When, with which command and versions a package is written."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "versions": {"leafkit": __version__, "faiss": faiss.__version__, "numpy": numpy.__version__},
    }


def part_name(part: str, generation: int) -> str:
    """The file name of ``part`` in ``generation``, such as ``index-2.faiss``."""
    return f"{part}-{generation}.{PARTS[part]}"


def document_files(folder: Path, parts: Mapping[str, str]) -> DocumentFiles:
    """The files of the documents among ``parts`` in ``folder``."""
    return DocumentFiles(
        lines=folder / parts["documents"],
        offsets=folder / parts["offsets"],
        keys=folder / parts["keys"],
        rows=folder / parts["rows"],
    )


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the index at ``folder``.

    Raises `InputError` where the folder is no index and `DamageError` where a byte of the manifest was changed.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(f"{folder} is not an index: it has no {MANIFEST}; build one with: leafkit index") from error
    except UnicodeDecodeError as error:
        raise DamageError(_changed(path)) from error
    content = _parse(text, path)
    try:
        fields = {field.name: content[field.name] for field in dataclasses.fields(Manifest)}
        return Manifest(**{**fields, "space": Space.from_json(content["space"], where=str(path))})
    except (KeyError, TypeError) as error:
        raise DamageError(f"{path} lacks what an index needs ({error}); build the index again") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make ``manifest`` the state of the index at ``folder``, in one step."""
    write_file(folder / MANIFEST, manifest.dump())


def describe_files(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Hash and size of each named file in ``folder``, for a manifest."""
    return {name: {"sha256": sha256_file(folder / name), "bytes": (folder / name).stat().st_size} for name in names}


def check_files(folder: Path, manifest: Manifest, *, verify: bool) -> None:
    """Raise `DamageError` naming the first file that is missing, cut off or, with ``verify``, changed."""
    for name, facts in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise DamageError(f"{path} is missing; copy the index again or build it again")
        if path.stat().st_size != facts["bytes"]:
            raise DamageError(f"{path} has {path.stat().st_size} bytes, wanted {facts['bytes']}: {_CHANGED}")
        if verify and sha256_file(path) != facts["sha256"]:
            raise DamageError(_changed(path))


_CHANGED = "it was changed or cut off after leafkit wrote it; copy the index again or build it again"


def _changed(path: Path) -> str:
    return f"{path} does not have the content that leafkit wrote: {_CHANGED}"


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DamageError(_changed(path)) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not the manifest of a leafkit index")
    if content.get("version") != VERSION:
        raise InputError(f"{path} has version {content.get('version')}, this leafkit reads {VERSION}; update leafkit")
    # The text itself must be what would be written: a byte changed in spaces or escapes is damage too.
    if _dump(content) != text or content.pop("sha256", None) != _hash(content):
        raise DamageError(_changed(path))
    for name in content.get("files", {}):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DamageError(f"{path} names a file outside of the index: {name}")
    return content


def _dump(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_dump(content).encode()).hexdigest()
