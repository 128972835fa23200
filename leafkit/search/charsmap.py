"""Check the table of a `Precompiled` normaliser, which tokenizers follows without checking any index in it."""

from __future__ import annotations

import base64

import numpy

# The longest replacement in the tables of sentencepiece has 33 bytes.
_LONGEST = 64


def check_charsmap(text: str) -> None:
    """Raise ValueError unless ``text``, in base64, is a table of sentencepiece that leads nowhere outside itself.

    The table is a double-array trie (Darts-clone: units of 32 bits, after their size in bytes) whose values are places
    in the text that follows, where each replacement ends with a zero byte.
    """
    content = base64.b64decode(text, validate=True)
    size = int.from_bytes(content[:4], "little")
    if size % 4 or not 0 < size <= len(content) - 4:
        raise ValueError("the table of its normaliser is damaged (its size is wrong)")
    units = numpy.frombuffer(content, dtype="<u4", count=size // 4, offset=4)
    replacements = content[4 + size :]
    replacements.decode("utf-8")
    places = numpy.arange(len(units))
    # Units with the highest bit are values; no text leads to them as to a node. The first unit is the root in any case.
    node = (units >> 31) == 0
    node[0] = True
    base = places ^ ((units >> 10) << ((units & 512) >> 6)).astype(numpy.int64)
    # The children of a node are at base ^ byte.
    if ((base | 255) >= len(units))[node].any():
        raise ValueError("the table of its normaliser is damaged (it leads outside)")
    values = units[base[node & ((units >> 8) & 1 == 1)]] & 0x7FFFFFFF
    _check_values(values.astype(numpy.int64), replacements)


def _check_values(values: numpy.ndarray, replacements: bytes) -> None:
    text = numpy.frombuffer(replacements, dtype=numpy.uint8)
    ends = numpy.append(numpy.flatnonzero(text == 0), len(text))
    if not len(values):
        return
    if values.max() >= len(text) or (text[values] & 0xC0 == 0x80).any():
        raise ValueError("the table of its normaliser is damaged (a replacement starts outside, or inside a letter)")
    if (ends[numpy.searchsorted(ends, values)] - values).max() > _LONGEST:
        raise ValueError(f"its normaliser has a replacement of more than {_LONGEST} bytes")
