"""How the writer of a package handles files: names, manifests, the lock, and deleting old generations."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faiss
import numpy

from leafkit.command import command_line
from leafkit.errors import InputError, OutputError
from leafkit.files.atomic import write_file
from leafkit.files.digest import sha256_file
from leafkit.files.lock import folder_lock
from leafkit.search.manifest import MANIFEST, PARTS, Manifest, read_manifest
from leafkit.search.package import Package, open_package
from leafkit.version import __version__

# Vectors wait in spool-N.raw until the index is trained, large lists in lists-N.raw until they are merged; documents to
# add wait in added-documents-N.jsonl and others.
SPOOL, LISTS = "spool", "lists"
ADDED = "added-"
_GENERATED = rf"({ADDED})?({'|'.join([*PARTS, SPOOL, LISTS])})-\d+\.({'|'.join([*PARTS.values(), 'raw'])})"
_LEFTOVER = re.compile(rf"{_GENERATED}|\.({_GENERATED}|{re.escape(MANIFEST)})\.partial")


def part_name(part: str, generation: int) -> str:
    """Return the file name of ``part`` in ``generation``, such as ``index-2.faiss``."""
    return f"{part}-{generation}.{PARTS[part]}"


def spool_name(generation: int) -> str:
    """Return the name of the temporary file in which the vectors of ``generation`` wait."""
    return f"{SPOOL}-{generation}.raw"


def lists_name(generation: int) -> str:
    """Return the name of the temporary file in which the inverted lists of ``generation`` wait."""
    return f"{LISTS}-{generation}.raw"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of the index at ``folder`` in one step, which makes ``manifest`` its current state."""
    write_file(folder / MANIFEST, manifest.dump())


def describe_files(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the hash and the size of each named file in ``folder``, as a manifest holds them."""
    return {name: {"sha256": sha256_file(folder / name), "bytes": (folder / name).stat().st_size} for name in names}


def provenance() -> dict[str, Any]:
    """Return the time, the command and the library versions with which a package is written."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "versions": {"leafkit": __version__, "faiss": faiss.__version__, "numpy": numpy.__version__},
    }


def remove_leftovers(folder: Path, manifest: Manifest) -> None:
    """Delete the files of other generations, which an update replaced or an interrupted update left behind.

    Only the process that holds the `writer_lock` may call this.
    """
    for path in folder.iterdir():
        if _LEFTOVER.fullmatch(path.name) and path.name not in manifest.files:
            path.unlink(missing_ok=True)


def check_in_place(package: Package) -> None:
    """Raise `OutputError` if the folder of ``package`` is no longer the index that was opened for an update.

    leafkit's own writers wait for the lock, but a user may move another index to the same path meanwhile.
    """
    if not is_current(package.folder, package.manifest):
        raise OutputError(
            f"{package.folder} was replaced by another index while it was being updated. The update was not applied. "
            "Run this command again."
        )


def is_current(folder: Path, manifest: Manifest) -> bool:
    """Tell whether ``manifest`` is the manifest of the index at ``folder`` now."""
    try:
        return read_manifest(folder).dump() == manifest.dump()
    except InputError:
        return False


@contextlib.contextmanager
def open_for_update(folder: Path) -> Iterator[Package]:
    """Open the index at ``folder`` as its only writer, after verifying every byte of the files.

    Raises `InputError` for a folder that is not an index, `DamageError` for a file that is missing or changed, and
    `OutputError` while another process writes to the index.
    """
    read_manifest(folder)
    with writer_lock(folder):
        # An update copies rows of the old files under new hashes, which would hide any damage from then on.
        yield open_package(folder, verify=True)


@contextlib.contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Hold the index at ``folder`` for writing; raises `OutputError` if another process holds it."""
    busy = f"{folder} is being updated by another process. Run this command again when that update is done."
    with folder_lock(folder, error=busy):
        yield
