"""The manifest of an index package: its space, how its vectors are stored, and the hash of every file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from leafkit.errors import DamageError, InputError
from leafkit.files.digest import sha256_file
from leafkit.search.documents import DocumentFiles
from leafkit.space import Space

MANIFEST = "manifest.json"
FORMAT = "leafkit-index"
VERSION = 1
METRIC = "cosine"
ENCODER = "encoder"  # the folder of the query encoder inside a package

# Each part of an index, and the suffix of its file. Its file is named part-generation.suffix, e.g. index-2.faiss.
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
    """The content of a manifest. ``parts`` maps each part to its file, ``files`` each file to its hash and size.

    ``rows`` counts the vectors in the index, and ``count`` those that are not removed. ``loss`` is the median of
    1 - cosine between a stored vector and the original when the index was built. ``encoder`` is None in a package
    without a student.
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
        """The measure that a score is: always ``cosine``."""
        return METRIC

    def path(self, folder: Path, part: str) -> Path:
        """Return the path of the file of ``part`` in ``folder``."""
        return folder / self.parts[part]

    def document_files(self, folder: Path) -> DocumentFiles:
        """Return the paths of the files that hold the documents in ``folder``."""
        return document_files(folder, self.parts)

    def dump(self) -> str:
        """Return the text of the manifest: readable JSON that contains the hash of its own content."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        content = {"format": FORMAT, "version": VERSION, "metric": METRIC, **fields, "space": self.space.to_json()}
        return _dump({**content, "sha256": _hash(content)})


def document_files(folder: Path, parts: Mapping[str, str]) -> DocumentFiles:
    """Return the paths in ``folder`` of those ``parts`` that hold documents."""
    return DocumentFiles(
        lines=folder / parts["documents"],
        offsets=folder / parts["offsets"],
        keys=folder / parts["keys"],
        rows=folder / parts["rows"],
    )


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the index at ``folder``.

    Raises `InputError` if the folder is not an index and `DamageError` if a byte of the manifest was changed.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(f"{folder} is not an index: it has no {MANIFEST}. Build one with: leafkit index") from error
    except UnicodeDecodeError as error:
        raise DamageError(_changed(path)) from error
    content = _parse(text, path)
    try:
        fields = {field.name: content[field.name] for field in dataclasses.fields(Manifest)}
        return Manifest(**{**fields, "space": Space.from_json(content["space"], where=str(path))})
    except (KeyError, TypeError) as error:
        raise DamageError(f"{path} lacks a field that an index needs: {error}. Build the index again.") from error


def check_files(folder: Path, manifest: Manifest, *, verify: bool) -> None:
    """Raise `DamageError` naming the first file that is missing, truncated or, with ``verify``, changed."""
    for name, facts in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise DamageError(f"{path} is missing. Copy the index again or build it again.")
        if path.stat().st_size != facts["bytes"]:
            raise DamageError(f"{path} has {path.stat().st_size} bytes; expected {facts['bytes']}. {_ADVICE}")
        if verify and sha256_file(path) != facts["sha256"]:
            raise DamageError(_changed(path))


_ADVICE = "The file was changed or truncated after leafkit wrote it. Copy the index again or build it again."


def _changed(path: Path) -> str:
    return f"{path} does not have the content that leafkit wrote. {_ADVICE}"


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DamageError(_changed(path)) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not the manifest of a leafkit index. Build an index with: leafkit index")
    if content.get("version") != VERSION:
        raise InputError(
            f"{path} has format version {content.get('version')}, but this leafkit reads version {VERSION}. "
            "Update leafkit."
        )
    # The text must equal what leafkit would write: a changed space or escape sequence is damage too.
    if _dump(content) != text or content.pop("sha256", None) != _hash(content):
        raise DamageError(_changed(path))
    for name in content.get("files", {}):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DamageError(
                f"{path} names a file outside the index folder: {name}. Do not use this index; build it again."
            )
    return content


def _dump(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_dump(content).encode()).hexdigest()
