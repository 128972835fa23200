"""Sources of texts: choosing the reader for a file, a folder or a hub dataset, and parsing a source's prefix."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import cast

from leafkit.errors import TextError
from leafkit.texts.columns import Columns, Row
from leafkit.texts.dataset import hub_rows, is_saved_dataset, saved_rows
from leafkit.texts.delimited import csv_rows, tsv_rows
from leafkit.texts.documents_folder import SUFFIXES, document_files, document_rows
from leafkit.texts.jsonl import jsonl_rows
from leafkit.texts.lines import COMPRESSIONS
from leafkit.texts.parquet import parquet_parts, parquet_rows
from leafkit.texts.plain import plain_rows
from leafkit.types import ROLES, Role

FORMATS: dict[str, Callable[[Path, Columns], Iterator[Row]]] = {
    ".jsonl": jsonl_rows,
    ".ndjson": jsonl_rows,
    ".json": jsonl_rows,
    ".csv": csv_rows,
    ".tsv": tsv_rows,
    ".parquet": parquet_rows,
    ".txt": plain_rows,
}

SENTENCES = "sentences"

# Files of models, students and indexes, whose .txt and .md files (vocab.txt, README.md) are not documents.
_MARKERS = ("config.json", "leafkit.json", "manifest.json", "modules.json", "tokenizer.json")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file or dataset that can be read.

    name: the source's name in error messages.
    label: the first part of the ids of rows without an id.
    role: the role of all rows, if a prefix or the kind of folder sets one.
    rows: yields the rows.
    sentences: whether each text is replaced by one of its sentences (`leafkit.texts.sentences`).
    note: a message to log when the source is read.
    """

    name: str
    label: str
    role: Role | None
    rows: Callable[[Columns], Iterator[Row]]
    sentences: bool = False
    note: str = ""


def find_sources(source: str | PathLike[str]) -> list[Source]:
    """Return ``source`` as a list of one source, or of several for a folder of Parquet files.

    Only a string may have a prefix such as ``query:``. Raises `TextError` if there is nothing to read.
    """
    if not isinstance(source, str):
        return _path_sources(Path(fspath(source)), None)
    prefix, name = split_prefix(source)
    if prefix == SENTENCES:
        return [dataclasses.replace(part, sentences=True) for part in _named_sources(name, "query")]
    return _named_sources(name, cast(Role, prefix) if prefix else None)


def split_prefix(source: str) -> tuple[str, str]:
    """Split ``source`` into its prefix (``query``, ``document``, ``sentences`` or empty) and its name."""
    prefix, colon, name = source.partition(":")
    return (prefix, name) if colon and prefix in (*ROLES, SENTENCES) else ("", source)


def _named_sources(name: str, role: Role | None) -> list[Source]:
    if name.startswith("hub:"):
        identifier = name.removeprefix("hub:")
        return [Source(name=name, label=identifier, role=role, rows=hub_rows(identifier))]
    return _path_sources(Path(name), role)


def _path_sources(path: Path, role: Role | None) -> list[Source]:
    try:
        return _folder_sources(path, role) if path.is_dir() else [_file_source(path, role)]
    except OSError as error:
        raise TextError(f"{path} cannot be read: {error.strerror}. Check its name and its permissions.") from error


def _file_source(path: Path, role: Role | None) -> Source:
    if not path.is_file():
        raise TextError(f"{path} does not exist; expected a file, a folder or hub:owner/name with texts to read.")
    kind = extension(path)
    if kind is None:
        raise TextError(f"{path} has an unknown suffix; expected {', '.join(FORMATS)}, optionally with .gz or .zst.")
    rows = FORMATS[Path("_" + kind).suffixes[0]]
    return Source(name=str(path), label=path.name, role=role, rows=partial(rows, path))


def _folder_sources(folder: Path, role: Role | None) -> list[Source]:
    if corpus := find_plain_or_compressed(folder, "corpus.jsonl"):
        return [_file_source(corpus, role or "document")]
    if is_saved_dataset(folder):
        return [Source(name=str(folder), label=folder.name, role=role, rows=saved_rows(folder))]
    kinds = {extension(file) for file in folder.iterdir() if file.is_file()} - {None}
    if kinds == {".parquet"}:
        return [_file_source(part, role) for part in parquet_parts(folder)]
    is_package = any((folder / marker).is_file() for marker in _MARKERS)
    if kinds <= {".txt"} and not is_package and (source := _documents_source(folder, role)):
        return [source]
    globs = " ".join(f"{folder}/*{kind}" for kind in sorted(kinds, key=str))
    advice = f"Name its files: {globs}" if globs else f"It contains no {', '.join(FORMATS)} file."
    raise TextError(
        f"{folder} is neither a folder in BEIR layout (with corpus.jsonl), nor a saved dataset, nor a folder with only "
        f"Parquet files or only documents ({' and '.join(SUFFIXES)}). {advice}"
    )


def _documents_source(folder: Path, role: Role | None) -> Source | None:
    """Return ``folder`` as a source with one document per .txt or .md file, or None if it has no such file."""
    files, others = document_files(folder)
    if not files:
        return None
    counts = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common())
    return Source(
        name=str(folder),
        label=folder.name,
        role=role,
        rows=partial(document_rows, folder, files),
        note=f"{folder}: skipped files that are not text ({counts})" if others else "",
    )


def find_plain_or_compressed(folder: Path, name: str) -> Path | None:
    """Return the file ``name`` in ``folder``, or else ``name``.gz or ``name``.zst; None if all three are missing."""
    paths = (folder / (name + suffix) for suffix in ("", *COMPRESSIONS))
    return next((path for path in paths if path.is_file()), None)


def extension(path: Path) -> str | None:
    """Return the suffix that decides how a file is read, such as ``.jsonl`` or ``.csv.gz``; None if unknown."""
    compression = path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else ""
    kind = (Path(path.stem) if compression else path).suffix.lower()
    return kind + compression if kind in FORMATS else None
