"""The origin of the figures: command, code, packages, and hashes of data and students."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from leafkit.files.digest import sha256_file

_PACKAGES = (
    "pytrec-eval-terrier",
    "mteb",
    "beir",
    "bm25s",
    "faiss-cpu",
    "numpy",
    "onnxruntime",
    "sentence-transformers",
    "torch",
    "transformers",
)

_MODEL_FILES = {".safetensors", ".bin", ".onnx", ".json", ".txt", ".model"}


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Everything needed to compute the same figures again.

    ``students`` maps a student's name to the SHA-256 of its files. ``data`` has one entry per data source.
    ``packages`` are installed versions; ``libraries`` says which library computes what.
    """

    command: str
    leafkit: str
    commit: str | None
    space: dict[str, Any] | None
    students: dict[str, str]
    encoder: str
    data: list[dict[str, str]]
    seed: int
    resamples: int
    packages: dict[str, str]
    libraries: dict[str, str]


def commit() -> str | None:
    """Return the git commit of leafkit's checkout, with ``+`` if tracked files are changed; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def packages() -> dict[str, str]:
    """Return the installed versions of the packages that the figures depend on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def files_digest(files: Iterable[tuple[str, Path]]) -> str:
    """Return one SHA-256 over the names and contents of ``files``; their order does not matter."""
    digest = hashlib.sha256()
    for name, path in sorted(files):
        digest.update(f"{name}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def folder_digest(folder: Path, paths: Iterable[Path]) -> str:
    """Return one SHA-256 over the files among ``paths``, named by their path relative to ``folder``."""
    return files_digest((path.relative_to(folder).as_posix(), path) for path in paths if path.is_file())


def student_digest(folder: Path) -> str:
    """Return one SHA-256 over the files that a student's vectors depend on: weights, tokenizer, settings."""
    return folder_digest(folder, (path for path in folder.rglob("*") if path.suffix in _MODEL_FILES))
