"""Vectors files as teachers, and the store of teacher vectors."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

import numpy
import pyarrow
from pyarrow import parquet

from leafkit.space import Space
from leafkit.teachers.open import open_teacher
from leafkit.vectors.store import VectorStore
from tests.fixtures.packages import GivenVectors
from tests.hostile.fuzz.target import Target, digest

SPACE = Space(teacher="t", weights="name:t", dim=6, normalised=False, pooling="mean", max_length=None)
VECTORS = numpy.random.default_rng(0).standard_normal((50, 6)).astype(numpy.float32)
STORE = ("*/*.bin", "*/manifest.json")
TEXTS = [f"text {row}" for row in range(50)]


def build_npy(folder: Path) -> None:
    """Write vectors with their texts beside them."""
    numpy.save(folder / "v.npy", VECTORS)
    (folder / "v.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))


def build_parquet(folder: Path) -> None:
    """Write texts and vectors as columns of one file."""
    parquet.write_table(pyarrow.table({"text": TEXTS, "vector": list(VECTORS)}), folder / "v.parquet")


def use_vectors(folder: Path) -> str:
    """Open the file as a teacher and ask for some texts."""
    (file,) = (path for path in folder.iterdir() if path.suffix in (".npy", ".parquet"))
    teacher = open_teacher(file)
    return digest(teacher.space.id, teacher.encode(TEXTS[5:20], "document"))


def build_store(folder: Path) -> None:
    """Fill a store in two calls, which makes two blocks."""
    for part in (slice(0, 30), slice(30, 50)):
        VectorStore.open(folder, SPACE, dtype="float32").fill(GivenVectors(VECTORS[part], SPACE), TEXTS[part], "query")


def use_store(folder: Path) -> str:
    """Look up texts and gather their vectors, as a training does."""
    store = VectorStore.open(folder, SPACE, dtype="float32")
    return digest(store.gather(store.rows(TEXTS, "query")), store.rows(["another"], "query"))


def reseal_store(folder: Path) -> None:
    """Write the checksums of the blocks anew, as far as the manifest can still be read."""
    (manifest,) = folder.glob("*/manifest.json")
    with contextlib.suppress(ValueError, KeyError, TypeError, OverflowError, RecursionError):
        content = json.loads(manifest.read_bytes())
        files = {name: (manifest.parent / f"{name}.bin").read_bytes() for name in ("keys", "vectors")}
        first = 0
        for block in content["blocks"]:
            for name, width in (("keys", 16), ("vectors", 4 * SPACE.dim)):
                part = files[name][first * width : (first + block["rows"]) * width]
                block[f"sha256_{name}"] = hashlib.sha256(part).hexdigest()
            first += block["rows"]
        manifest.write_text(json.dumps(content))


TARGETS = [
    Target(name="vectors-npy", build=build_npy, use=use_vectors, files=("v.npy", "v.jsonl")),
    Target(name="vectors-parquet", build=build_parquet, use=use_vectors, files=("v.parquet",)),
    Target(name="store-sealed", build=build_store, use=use_store, files=STORE, strict=True),
    Target(name="store", build=build_store, use=use_store, files=STORE, reseal=reseal_store),
]
