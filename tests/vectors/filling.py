"""A teacher with known vectors, and a program that fills a store with them.

Usage: filling.py ROOT BLOCK SECONDS [MAX_FILE_SIZE]. The program prints "ready", then the number of texts it encoded.
"""

import hashlib
import sys
import time
from pathlib import Path

import numpy

from leafkit.errors import OutputError
from leafkit.space import Space
from leafkit.vectors import store as module

TEXTS = [f"text {number % 901}" for number in range(1000)]
ROLES = ["query" if number % 3 else "document" for number in range(1000)]
DISTINCT = len(set(zip(ROLES, TEXTS)))


class HashTeacher:
    """Draws vectors from a hash of role and text; ``encoded`` lists all texts encoded, ``pause`` delays each call."""

    signals = frozenset({"embeddings", "online"})

    def __init__(self, *, dim=8, name="hash", normalised=True, pause=0.0):
        self.space = Space(
            teacher=name, weights=f"name:{name}", dim=dim, normalised=normalised, pooling="mean", max_length=None
        )
        self.pause = pause
        self.encoded = []

    def encode(self, texts, role):
        self.encoded += [(role, text) for text in texts]
        time.sleep(self.pause)
        drawn = numpy.array([self.vector(role, text) for text in texts], dtype=numpy.float32)
        return drawn / numpy.linalg.norm(drawn, axis=1, keepdims=True) if self.space.normalised else drawn

    def vector(self, role, text):
        seed = hashlib.sha256(f"{role}:{text}".encode()).digest()[:8]
        return numpy.random.default_rng(int.from_bytes(seed)).normal(size=self.space.dim)


def say(word):
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(root, block, pause, largest=None):
    module.BLOCK = int(block)
    if largest is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
    teacher = HashTeacher(pause=float(pause))
    say("ready")
    try:
        module.VectorStore.open(Path(root), teacher.space).fill(teacher, TEXTS, ROLES)
    except OutputError as error:
        sys.exit(f"OutputError: {error}")
    say(len(teacher.encoded))


if __name__ == "__main__":
    main(*sys.argv[1:])
