"""The fields of a protobuf message, without the package protobuf."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def messages(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the number of each field of a protobuf message with its content; a number counts as content if not 0."""
    position, end = 0, len(view)
    while position < end:
        key, position = _varint(view, position)
        field, kind = key >> 3, key & 7
        if kind == _BYTES:
            length, position = _varint(view, position)
        elif kind == _VARINT:
            start = position
            number, position = _varint(view, position)
            yield field, view[start : position if number else start]
            continue
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError("the ONNX file is damaged (it has a field of an unknown kind)")
        if length > end - position:
            raise ValueError("the ONNX file is damaged (a field is longer than the file)")
        yield field, view[position : position + length]
        position += length


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """Return the number at ``position``, 7 bits a byte, and the position after it."""
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(view):
            break
        byte = view[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
    raise ValueError("the ONNX file is damaged (a number has no end)")
