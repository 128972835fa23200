"""Content hashes: of files, and of a text in a role."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal, read in constant memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_key(role: str, text: str) -> bytes:
    """Sixteen bytes that stand for ``text`` in ``role``; equal keys mean equal texts.

    128 bits of BLAKE2b: a collision among a billion texts has a chance below 1e-20.
    """
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=role.encode()[:16]).digest()
