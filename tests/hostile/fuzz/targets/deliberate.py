"""A target that fails in every way when told to, to test the framework. The underscore keeps it out of all runs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy

from leafkit.errors import DamageError
from tests.hostile.fuzz.target import Target

WAYS = ("right", "other", "refused", "traceback", "memory", "hang", "crash")


def use(folder: Path) -> str:
    """End in the way that the file names; anything else is right."""
    way = (folder / "way.bin").read_bytes().decode("latin-1")
    if way == "other":
        return way
    if way == "refused":
        raise DamageError("refused.")
    if way == "traceback":
        raise KeyError(way)
    if way == "memory":
        return str(numpy.ones(1 << 30).sum())  # 8 GiB
    if way == "hang":
        time.sleep(1000)
    if way == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    return "right"


def draw_way(content: bytes, random: numpy.random.Generator) -> bytes:
    """Replace the content by one of the ways to end."""
    return WAYS[random.integers(len(WAYS))].encode()


TARGETS = [
    Target(
        name="_deliberate",
        build=lambda folder: (folder / "way.bin").write_bytes(b"right"),
        use=use,
        files=("way.bin",),
        mutations=(draw_way,),
        cases=0,
    )
]
