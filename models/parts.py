"""Split models and texts into small parts and join them again, for machines that accept only small files.

    python -m leafkit.models.parts split MODEL_FOLDER texts.jsonl.gz --out parts
    python -m leafkit.models.parts join parts --out here

All files are concatenated and the result is split every SIZE MiB. parts.json holds the hash of every part and every
file, and a hash of its own content.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from leafkit.command import exit_on_error
from leafkit.errors import DamageError, InputError, OptionError
from leafkit.files.atomic import atomic_folder, write_json
from leafkit.files.digest import sha256_file

MANIFEST, FORMAT, VERSION = "parts.json", "leafkit-parts", 1
MIB = 1 << 20


def split(paths: Sequence[Path], out: Path, *, size: int) -> Path:
    """Split the files and folders ``paths`` into parts of at most ``size`` bytes in the new folder ``out``.

    Raises `OptionError` for a size below 1, and `InputError` if a path is missing or two files have the same name.
    """
    if size < 1:
        raise OptionError(f"size is {size} bytes; expected at least 1 (--size).")
    found = [(name, file) for path in paths for name, file in _files(path)]
    names = [name for name, _ in found]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"two files have the name {repeated}. Rename one, or split them into two output folders.")
    with atomic_folder(out, marker=MANIFEST) as folder:
        files = [{"path": name, "size": file.stat().st_size, "sha256": sha256_file(file)} for name, file in found]
        stream = _Stream([file for _, file in found])
        part_names = [f"{number:04}.part" for number in range(1, -(-sum(file["size"] for file in files) // size) + 1)]
        parts = [{"name": name, "sha256": stream.write(size, folder / name)} for name in part_names]
        content = {"format": FORMAT, "version": VERSION, "files": files, "parts": parts}
        write_json(folder / MANIFEST, {**content, "sha256": _content_digest(content)})
    return out


def join(folder: Path, out: Path) -> Path:
    """Restore the files from the parts in ``folder`` into the new folder ``out``, completely or not at all.

    Raises `DamageError` if a part is missing or changed, or if the manifest is invalid.
    """
    manifest = _manifest(folder / MANIFEST)
    parts = [folder / part["name"] for part in manifest["parts"]]
    for part, known in zip(parts, manifest["parts"], strict=True):
        if not part.is_file():
            raise DamageError(f"{part} is missing. Copy this part again.")
        if sha256_file(part) != known["sha256"]:
            raise DamageError(f"{part} is truncated or changed (its SHA-256 differs). Copy this part again.")
    with atomic_folder(out, marker=MANIFEST) as new:
        stream = _Stream(parts)
        for file in manifest["files"]:
            target = new / file["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            if stream.write(file["size"], target) != file["sha256"]:
                raise DamageError(
                    f"{file['path']} differs from the original file (its SHA-256 differs). Split the file again."
                )
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: split or join. An error becomes one message and exit code 1."""
    options = _parser().parse_args(arguments)
    with exit_on_error():
        if options.command == "split":
            split(options.paths, options.out, size=int(options.size * MIB))
        else:
            join(options.folder, options.out)
    sys.stdout.write(f"{options.out}\n")


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    path = path.resolve()
    if not path.exists():
        raise InputError(f"{path} does not exist; expected a file or a folder. Check the path.")
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            yield file.relative_to(path.parent).as_posix(), file


class _Stream:
    """The concatenated bytes of ``files``, read in pieces of any length."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._blocks = _blocks(files)
        self._rest = memoryview(b"")

    def write(self, count: int, file: Path) -> str:
        """Write the next ``count`` bytes (fewer at the end) to a new ``file`` and return their SHA-256."""
        digest = hashlib.sha256()
        with open(file, "wb") as opened:
            while count and (self._rest or self._refilled()):
                block, self._rest = self._rest[:count], self._rest[count:]
                count -= opened.write(block)
                digest.update(block)
        return digest.hexdigest()

    def _refilled(self) -> bool:
        self._rest = memoryview(next(self._blocks, b""))
        return bool(self._rest)


def _blocks(files: Sequence[Path]) -> Iterator[bytes]:
    for file in files:
        with open(file, "rb") as opened:
            while block := opened.read(MIB):
                yield block


def _manifest(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise InputError(
            f"{file} does not exist; expected the folder that `split` wrote, with {MANIFEST} and all parts."
        )
    try:
        content = json.loads(file.read_bytes())
        expected = content.pop("sha256")
        if (content["format"], content["version"], expected) != (FORMAT, VERSION, _content_digest(content)):
            raise DamageError(f"{file} is changed (its SHA-256 differs). Copy this file again.")
        names = [part["name"] for part in content["parts"]] + [entry["path"] for entry in content["files"]]
        bad = [name for name in names if not _inside(name)] + [e["size"] for e in content["files"] if e["size"] < 0]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(f"{file} is not a manifest of parts ({error!r}). Copy this file again.") from error
    if bad:
        raise DamageError(f"{file} contains {bad[0]!r}, which `split` never writes. Do not use parts from this source.")
    return content


def _inside(name: str) -> bool:
    """Return whether the path ``name`` stays inside its folder on every operating system."""
    path = PureWindowsPath(name)
    return bool(path.parts) and not (path.anchor or ".." in path.parts or "\0" in name)


def _content_digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m leafkit.models.parts",
        description="Split models and texts into small parts and join them again.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    splitter = commands.add_parser("split", help="split files and folders into parts")
    splitter.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file or a folder")
    splitter.add_argument("--out", required=True, type=Path, help="new folder for the parts")
    splitter.add_argument("--size", type=float, default=60, help="maximum size of a part in MiB (default: 60)")
    joiner = commands.add_parser("join", help="restore the files from their parts")
    joiner.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the parts")
    joiner.add_argument("--out", required=True, type=Path, help="new folder for the files")
    return parser


if __name__ == "__main__":
    main()
