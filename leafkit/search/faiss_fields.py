"""Read the fields of a FAISS file in order, each checked against the bytes that are left."""

from __future__ import annotations

import mmap
import struct
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.search.arrays import give_back_pages

# The largest component of a centroid, matrix or codebook. A sum of products of three of them is still a finite float:
# with a distance that is NaN, FAISS can search a graph for ever.
LARGEST = numpy.float32(1e12)
_BLOCK = 1 << 20
_PART = 1 << 26  # bytes of a file whose pages are held at a time

# For each type of float: the integer of the same size, the bits without the sign, and the largest value allowed.
_LIMITS = {
    "<f4": ("<u4", 0x7FFFFFFF, int(LARGEST.view(numpy.uint32))),
    "<f2": ("<u2", 0x7FFF, int(numpy.float16(numpy.finfo(numpy.float16).max).view(numpy.uint16))),
    "bfloat16": ("<u2", 0x7FFF, int(LARGEST.view(numpy.uint32)) >> 16),
}


class FormatError(ValueError):
    """A file that FAISS must not read. The message says what is wrong, without the name of the file."""


def require(condition: bool, message: str) -> None:
    """Raise `FormatError` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise FormatError(message)


class Fields:
    """The bytes of a FAISS file and the position of the next field. Each method reads one field or several.

    All methods raise `FormatError` if the file ends too early.
    """

    def __init__(self, content: bytes | memoryview) -> None:
        """Read ``content``. The loaded pages of a file that is mapped for reading are given back after each 64 MB."""
        self._content = memoryview(content)
        self._position = self._given_back = 0

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return len(self._content)

    def number(self, code: str) -> Any:
        """Read a little-endian number; ``code`` is a letter of Python's ``struct``."""
        size = struct.calcsize("<" + code)
        return struct.unpack_from("<" + code, self._content, self._advance(size))[0]

    def flag(self, name: str) -> bool:
        """Read a boolean, which must be 0 or 1."""
        value = self.number("B")
        require(value in (0, 1), f"{name} is {value}, expected 0 or 1")
        return value == 1

    def expect(self, code: str, wanted: float, name: str) -> None:
        """Read a number that must be ``wanted``."""
        self.between(code, wanted, wanted, name)

    def between(self, code: str, least: float, most: float, name: str) -> Any:
        """Read a number that must lie between ``least`` and ``most``."""
        value = self.number(code)
        wanted = f"{least}" if least == most else f"{least} to {most}"
        require(least <= value <= most, f"{name} is {value}, expected {wanted}")
        return value

    def kind(self) -> str:
        """Read the four letters that name a type."""
        start = self._advance(4)
        return bytes(self._content[start : start + 4]).decode("latin-1")

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        """Read ``count`` numbers of ``dtype``: a view of the file, whose pages are loaded when they are used."""
        item = numpy.dtype(dtype).itemsize
        return numpy.frombuffer(self._content, dtype=dtype, count=count, offset=self._advance(count * item))

    def vector(self, dtype: str, counts: int | None, name: str, *, unit: int = 1) -> NDArray[Any]:
        """Read a length and that many times ``unit`` numbers; they must be ``counts`` in all, or any number if None."""
        count = self.number("Q") * unit
        require(counts is None or count == counts, f"{name} holds {count} numbers, expected {counts}")
        return self.array(dtype, count)

    def floats(self, counts: int | None, name: str) -> NDArray[Any]:
        """Read a vector of floats, all of them finite and at most `LARGEST`."""
        return require_bounded(self.vector("<f4", counts, name), "<f4", name)

    def end(self) -> None:
        """Require that no byte is left."""
        left = self.size - self._position
        require(left == 0, f"{left} bytes follow its end")

    def _advance(self, size: int) -> int:
        """Return the current position and move it ahead by ``size`` bytes."""
        start = self._position
        require(size <= self.size - start, f"it is truncated: {size} bytes are missing after byte {start}")
        self._position += size
        if start - self._given_back >= _PART and isinstance(self._content.obj, mmap.mmap):
            give_back_pages(self._content.obj)
            self._given_back = start
        return start


def require_bounded(values: NDArray[Any], dtype: str, name: str) -> NDArray[Any]:
    """Return ``values`` of the type ``dtype``; raises `FormatError` if one is NaN, infinite or beyond `LARGEST`."""
    unsigned, mask, limit = _LIMITS[dtype]
    bits = values.view(unsigned)
    for start in range(0, len(bits), _BLOCK):
        largest = (bits[start : start + _BLOCK] & mask).max()
        require(largest <= limit, f"{name} holds a number that is not finite or too large")
    return values
