"""The manifest of an index package: its space, how its vectors are stored, and the hash of every file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leafkit.errors import DamageError, InputError
from leafkit.files.json_file import explain_invalid, parse_json, read_bytes
from leafkit.files.open_files import OpenFiles
from leafkit.search.documents import DocumentFiles
from leafkit.search.lexical import LexicalFiles
from leafkit.search.manifest_fields import FULL, check_fields
from leafkit.space import Space

MANIFEST = "manifest.json"
FORMAT = "leafkit-index"
VERSION = 1
METRIC = "cosine"
MOST_BYTES = 1 << 20  # a manifest has some thousand bytes
ENCODER = "encoder"  # the folder of the default query encoder inside a package; others add a hyphen and their effort

# Each part of an index, and the suffix of its file. Its file is named part-generation.suffix, e.g. index-2.faiss.
PARTS = {
    "index": "faiss",
    "documents": "jsonl",
    "offsets": "npy",
    "keys": "npy",
    "rows": "npy",
    "vectors": "npy",
    "live": "npy",
    "words": "npy",
    "starts": "npy",
    "postings": "npy",
    "counts": "npy",
    "lengths": "npy",
    "columns": "npy",
}
DOCUMENT_PARTS = ("documents", "offsets", "keys", "rows")
LEXICAL_PARTS = ("words", "starts", "postings", "counts", "lengths")


@dataclass(frozen=True, slots=True)
class Rung:
    """One student inside an index: the ``effort`` that chooses it, its name, and the ``folder`` of its files.

    ``layers`` counts its transformer layers, 0 for a token table; None in an index that has only this student.
    """

    effort: str
    student: str
    folder: str
    layers: int | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of a manifest. ``parts`` maps each part to its file, ``files`` each file to its hash and size.

    ``rows`` counts the vectors in the index, and ``count`` those that are not removed. ``loss`` is the median of
    1 - cosine between a stored vector and the original when the index was built. ``encoder`` describes the students
    inside (see `read_rungs`); None in a package without one.
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

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The students inside, the fastest first. The last one is the default; empty without a student."""
        return read_rungs(self.encoder)

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


def read_rungs(encoder: Mapping[str, Any] | None) -> tuple[Rung, ...]:
    """Return the students that ``encoder``, the field of a manifest, describes.

    ``encoder`` names the default ``student``, and in an index with several also the ``rungs``: the name and the layers
    of each student by its effort, the default last. A leafkit that knows no rungs reads the same index, and searches
    it with the default student.
    """
    if encoder is None:
        return ()
    if "rungs" not in encoder:
        return (Rung(FULL, str(encoder.get("student", "unknown")), ENCODER),)
    rungs, default = encoder["rungs"], list(encoder["rungs"])[-1]
    return tuple(
        Rung(effort, facts["student"], ENCODER if effort == default else f"{ENCODER}-{effort}", facts["layers"])
        for effort, facts in rungs.items()
    )


def document_files(folder: Path, parts: Mapping[str, str]) -> DocumentFiles:
    """Return the paths in ``folder`` of those ``parts`` that hold documents."""
    return DocumentFiles(
        lines=folder / parts["documents"],
        offsets=folder / parts["offsets"],
        keys=folder / parts["keys"],
        rows=folder / parts["rows"],
    )


def lexical_files(folder: Path, parts: Mapping[str, str]) -> LexicalFiles:
    """Return the paths in ``folder`` of those ``parts`` that hold the words of the documents."""
    return LexicalFiles(**{part: folder / parts[part] for part in LEXICAL_PARTS})


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the index at ``folder``.

    Raises `InputError` if the folder is not an index and `DamageError` if a byte of the manifest was changed.
    """
    path = folder / MANIFEST
    content = _parse(read_manifest_text(folder), path)
    with explain_invalid(path, expected="the manifest of an index", advice="Do not use it. Build the index again."):
        check_fields(content, PARTS, together=LEXICAL_PARTS)
        fields = {field.name: content[field.name] for field in dataclasses.fields(Manifest)}
        manifest = Manifest(**{**fields, "space": Space.from_json(content["space"], where=str(path))})
        if manifest.dim > manifest.space.dim:
            raise ValueError(f"dim is {manifest.dim}, but the space has {manifest.space.dim} components")
        return manifest


def read_manifest_text(folder: Path) -> str:
    """Return the manifest of the index at ``folder`` as text; raises the errors of `read_manifest`."""
    path = folder / MANIFEST
    with explain_invalid(path, expected="the manifest of an index", advice=_ADVICE):
        try:
            return read_bytes(path, most_bytes=MOST_BYTES, follow_links=False).decode()
        except (FileNotFoundError, NotADirectoryError) as error:
            problem = f"{folder} is not an index: it has no {MANIFEST}."
            raise InputError(f"{problem} Build one with: leafkit index") from error


def open_files(folder: Path, manifest: Manifest, *, verify: bool) -> OpenFiles:
    """Open all files of the index at ``folder``, following no links.

    Raises `DamageError` naming the first file that is missing, truncated or, with ``verify``, changed. What is read
    from the open files later is what was verified, even if another process replaces the files.
    """
    files = OpenFiles(folder, follow_links=False)
    for name, facts in manifest.files.items():
        path = folder / name
        with explain_invalid(path, expected="a file of an index", advice=f"{_COPY}."):
            size = os.fstat(files.open(path).fileno()).st_size
            if size != facts["bytes"]:
                raise DamageError(f"{path} has {size} bytes; expected {facts['bytes']}. {_ADVICE}")
            if verify and files.sha256(path) != facts["sha256"]:
                raise DamageError(_changed(path))
    return files


_COPY = "Copy the index again (with cp -rL if it consists of links) or build it again"
_ADVICE = "The file was changed or truncated after leafkit wrote it. Copy the index again or build it again."


def _changed(path: Path) -> str:
    return f"{path} does not have the content that leafkit wrote. {_ADVICE}"


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        content = parse_json(text)
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
    return content


def _dump(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_dump(content).encode()).hexdigest()
