"""Where figures come from: the command, the code, the packages and the bytes of data and students."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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


def commit() -> str | None:
    """The git commit of the checkout leafkit runs from, with ``+`` where it is changed; None outside one."""
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
    """The installed versions of what the figures depend on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def files_digest(files: Iterable[tuple[str, Path]]) -> str:
    """One SHA-256 over the names and the contents of ``files``, whatever order they come in."""
    digest = hashlib.sha256()
    for name, path in sorted(files):
        digest.update(f"{name}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def folder_digest(folder: Path, paths: Iterable[Path]) -> str:
    """One SHA-256 over those of ``paths`` below ``folder`` that are files, each by its name from there."""
    return files_digest((path.relative_to(folder).as_posix(), path) for path in paths if path.is_file())


def student_digest(folder: Path) -> str:
    """One SHA-256 over every file of a student folder that its vectors depend on: weights, tokenizer, settings."""
    return folder_digest(folder, (path for path in folder.rglob("*") if path.suffix in _MODEL_FILES))
