"""Index packages: opened, searched and updated, with hashes that an attacker made fit, and with those of the writer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy

from leafkit.search.searcher import Searcher
from tests.fixtures.packages import SPACE, index_vectors, update_vectors
from tests.hostile.fuzz.reseal import reseal
from tests.hostile.fuzz.target import Target, digest

IDS = [f"document {row}" for row in range(80)]
VECTORS = numpy.random.default_rng(0).standard_normal((84, SPACE.dim)).astype(numpy.float32)


def build(folder: Path, **options: Any) -> None:
    """Write an index of 80 documents, of which one is removed."""
    payload = [
        {"text": name, "number": row, "tags": ["a", None], "kinds": ["x", "yz"[row % 2]]}
        for row, name in enumerate(IDS)
    ]
    index_vectors(IDS, VECTORS[:80], SPACE, folder, payload=payload, overwrite=True, **options)
    update_vectors(folder, remove=["document 3"])


def use(folder: Path) -> str:
    """Search the index, all of it, some ids and by a filter, then add two documents and search again."""
    results: list[object] = []
    for memory_map in (True, False):
        searcher = Searcher.open(folder, memory_map=memory_map)
        everything, allowed = searcher.search(VECTORS[80], 100), searcher.search(VECTORS[81], 5, allow=IDS[::2])
        chosen = searcher.search(VECTORS[80], 20, where='number > 20 and kinds = "y" or number in (1, 2)')
        for hits in (everything, allowed, chosen):
            results += [hits.ids, hits.scores, hits.payload]
        found = searcher.lexical.search("document 7 document 12", 100)
        results += [found.rows, found.scores]
    update_vectors(folder, ids=["new", "document 5"], vectors=VECTORS[82:], replace=True)
    hits = Searcher.open(folder).search(VECTORS[82], 5)
    return digest(*results, hits.ids, hits.scores)


PARTS = ("manifest.json", "*.npy", "*.npz", "*.jsonl", "*.json")
KINDS = {"plain": {}, "binary": {"precision": "binary"}, "rotated": {"rotate": "pca", "dim": 32, "precision": "int8"}}
TARGETS = [
    Target(name=f"index-{kind}", build=partial(build, **options), use=use, files=PARTS, reseal=seal, cases=20)
    for kind, options in KINDS.items()
    for seal in [partial(reseal, name="manifest.json")]
] + [
    Target(
        name="index-sealed",
        build=partial(build, rotate="pca", precision="binary"),
        use=use,
        files=("*",),
        strict=True,
        cases=20,
    )
]
