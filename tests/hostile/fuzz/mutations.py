"""Ways to damage a file: general ones for bytes and, for text formats, ones that replace whole values."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy

# Given the content of a file and a source of randomness, return other content.
Mutation = Callable[[bytes, numpy.random.Generator], bytes]

EXTREMES = [0, 1, 2, 7, -1, -2, 127, 128, 255, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63]
FLOATS = [float("nan"), float("inf"), float("-inf"), 1e38, -1e38, 1e-45, 0.0, -1.0]
VALUES = [
    "null", "true", "-1", "0", "1", "2", "1.5", "1e999", "NaN", "9" * 30, "9" * 5000, '""', '"x"', '"../x"',
    '"/etc/passwd"', '"' + "y" * 5000 + '"', '"\\u0000"', "[]", "{}", "[[]]", '["a"]', '{"a": 1}', "[" * 30_000,
    '{"a":' * 3_000,
]  # fmt: skip
_SCALAR = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null')


def flip_bits(content: bytes, random: numpy.random.Generator) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(content or b"\0")
    for _ in range(random.integers(1, 9)):
        changed[_place(changed, random)] ^= 1 << int(random.integers(8))
    return bytes(changed)


def overwrite_bytes(content: bytes, random: numpy.random.Generator) -> bytes:
    """Overwrite a run of bytes with drawn bytes or one repeated byte."""
    start, size = _place(content, random), int(random.choice([1, 2, 4, 16, 200]))
    run = random.bytes(size) if random.integers(2) else bytes([int(random.integers(256))]) * size
    return (content[:start] + run + content[start + size :])[: len(content)]


def overwrite_number(content: bytes, random: numpy.random.Generator) -> bytes:
    """Overwrite a number of 1, 2, 4 or 8 bytes with an extreme one, or change it by a little."""
    size = int(random.choice([1, 2, 4, 8]))
    start = _place(content, random) // 4 * 4 if random.integers(2) else _place(content, random)
    return write_number(content, start, size, random)


def write_number(content: bytes, start: int, size: int, random: numpy.random.Generator) -> bytes:
    """Replace the number of ``size`` bytes at ``start`` by an extreme, a similar, a drawn or a floating-point one."""
    old = int.from_bytes(content[start : start + size], "little")
    kind = random.integers(10)
    if kind < 4:
        new = EXTREMES[random.integers(len(EXTREMES))]
    elif kind < 8:
        new = (old + 1, old - 1, old * 2, old // 2, old + 32, old - 32, -old, old << 8)[random.integers(8)]
    elif kind < 9 or size not in (4, 8):
        new = int.from_bytes(random.bytes(size), "little")
    else:
        value = numpy.asarray(FLOATS[random.integers(len(FLOATS))], dtype=f"<f{size}")
        new = int.from_bytes(value.tobytes(), "little")
    return content[:start] + (new % (1 << 8 * size)).to_bytes(size, "little") + content[start + size :]


def truncate(content: bytes, random: numpy.random.Generator) -> bytes:
    """Keep only the start of the file."""
    return content[: _place(content, random)]


def delete(content: bytes, random: numpy.random.Generator) -> bytes:
    """Delete a run of bytes."""
    start, size = _place(content, random), int(random.choice([1, 4, 8, 32, 1000]))
    return content[:start] + content[start + size :]


def insert(content: bytes, random: numpy.random.Generator) -> bytes:
    """Insert drawn bytes or zeros."""
    start, size = _place(content, random), int(random.choice([1, 4, 8, 32, 1000]))
    return content[:start] + (random.bytes(size) if random.integers(2) else bytes(size)) + content[start:]


def splice(content: bytes, random: numpy.random.Generator) -> bytes:
    """Copy a run of bytes to another place."""
    source, target, size = _place(content, random), _place(content, random), int(random.choice([4, 8, 64, 512, 4096]))
    run = content[source : source + size]
    return content[:target] + run + content[target + len(run) :]


def replace_value(content: bytes, random: numpy.random.Generator) -> bytes:
    """Replace a string or number of a text format (JSON, TOML) by a value of another type or size."""
    places = list(_SCALAR.finditer(content))
    if not places:
        return flip_bits(content, random)
    place = places[random.integers(len(places))]
    value = VALUES[random.integers(len(VALUES))].encode()
    if random.integers(4) == 0:
        value = places[random.integers(len(places))].group()
    return content[: place.start()] + value + content[place.end() :]


BYTES: tuple[Mutation, ...] = (
    flip_bits, overwrite_bytes, overwrite_number, overwrite_number, truncate, delete, insert, splice,
)  # fmt: skip
TEXT: tuple[Mutation, ...] = (*BYTES, replace_value, replace_value, replace_value, replace_value)


def damage(content: bytes, mutations: tuple[Mutation, ...], random: numpy.random.Generator) -> bytes:
    """Apply one to three ``mutations`` to ``content``."""
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        content = mutations[random.integers(len(mutations))](content, random)
    return content


def _place(content: bytes | bytearray, random: numpy.random.Generator) -> int:
    """Draw a place in ``content``: half of them in the first 512 bytes, where headers are."""
    length = len(content) if random.integers(2) else min(len(content), 512)
    return int(random.integers(max(1, length)))
