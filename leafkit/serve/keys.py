"""API keys: where they come from, and whether a request carries one of them."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from pathlib import Path

from leafkit.errors import OptionError

VARIABLE = "LEAFKIT_API_KEY"


class Keys:
    """The accepted API keys, held as hashes. Without any key every request is accepted."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._hashes = [_hash(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def accept(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Tell whether ``Authorization: Bearer KEY`` or ``X-API-Key: KEY`` is among ``headers``, in constant time."""
        if not self._hashes:
            return True
        given = b""
        for name, value in headers:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                given = value[7:].strip()
            elif name == b"x-api-key":
                given = given or value.strip()
        hashed = hashlib.sha256(given).digest()
        # All keys are compared, so that the time does not tell which one was close.
        return sum(hmac.compare_digest(hashed, known) for known in self._hashes) > 0


def read_keys(file: str | os.PathLike[str] | None) -> Keys:
    """Return the keys in ``file``, one a line, or else those in $LEAFKIT_API_KEY.

    Raises `OptionError` for a file that cannot be read or holds no key.
    """
    if file is None:
        return Keys(os.environ.get(VARIABLE, "").split())
    try:
        keys = [line.strip() for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{file} cannot be read as a file of API keys: {error}") from error
    if not keys:
        raise OptionError(f"{file} holds no API key. Write one key per line, or leave --api-key-file out.")
    return Keys(keys)


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
