"""The checksums of all files of a folder, in a file of the folder itself."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from leafkit.errors import DamageError
from leafkit.files.atomic import write_json
from leafkit.files.digest import sha256_file
from leafkit.files.json_file import explain_invalid, read_json_object

CHECKSUMS = "checksums.json"


def write_checksums(folder: Path, *, leave_out: Collection[str] = ()) -> None:
    """Write the SHA-256 of every file below ``folder``, but for the names ``leave_out``, to its `CHECKSUMS` file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in files]
    write_json(folder / CHECKSUMS, {name: sha256_file(folder / name) for name in names if name not in leave_out})


def check_checksums(folder: Path, *, advice: str) -> None:
    """Raise `DamageError` for the first file of ``folder`` that is missing or changed since `write_checksums`.

    This reads every byte: 1 to 2 s per gigabyte. ``advice`` is a sentence that ends the message.
    """
    with explain_invalid(folder / CHECKSUMS, expected="a list of checksums", advice=advice):
        checksums = read_json_object(folder / CHECKSUMS)
    for name, checksum in checksums.items():
        file = folder / name
        if not file.is_file():
            raise DamageError(f"{file} is missing. {advice}")
        if sha256_file(file) != checksum:
            raise DamageError(f"{file} is damaged: its checksum differs. {advice}")
