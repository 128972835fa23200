"""Content hashes of files and of texts."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits, reading the file in constant memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_key(role: str, text: str) -> bytes:
    """Return a 16-byte hash of ``text`` in ``role``; equal keys mean equal texts.

    The hash is 128-bit BLAKE2b: the chance of one collision among a billion texts is below 1e-20.
    """
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=role.encode()[:16]).digest()
