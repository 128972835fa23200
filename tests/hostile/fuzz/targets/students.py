"""Student folders, opened as query encoders and with torch. They train first, so only the long run has them."""

from __future__ import annotations

import logging
import random
from pathlib import Path

from tests.conftest import WORDS, make_model
from tests.hostile.fuzz.reseal import reseal
from tests.hostile.fuzz.target import Target, digest

TEXTS = [" ".join(random.Random(row).choices(WORDS, k=6)) for row in range(40)]


def build(folder: Path) -> None:
    """Write an exported student of two layers at its ridge start."""
    import leafkit

    texts = folder.parent / "texts.txt"
    texts.write_text("\n".join(TEXTS))
    teacher = make_model(folder.parent / "teacher", width=32, layers=3, seed=1, prompts={"query": "search: "})
    cache = folder.parent / "cache"
    leafkit.distill(texts, teacher, "teacher:layers=1", folder, epochs=0, cache=cache, overwrite=True)
    logging.disable()


def use_exported(folder: Path) -> str:
    """Open the student as a query host does, and encode."""
    from leafkit.search.query_encoder import QueryEncoder

    # With precision auto, a damaged golden vector makes the other precision serve, whose vectors are as right.
    return digest(QueryEncoder.open(folder, precision="int8").encode(TEXTS[:3], "query"))


def use_torch(folder: Path) -> str:
    """Open the student with torch, and encode."""
    from leafkit.students.encoder import open_student

    return digest(open_student(folder).encode(TEXTS[:3], "query"))


def reseal_all(folder: Path) -> None:
    """Make every hash fit."""
    for name in ("leafkit.json", "onnx/export.json"):
        if (folder / name).is_file():
            reseal(folder, name)


EXPORTED = ("leafkit.json", "tokenizer.json", "onnx/*")
TORCH = ("*.json", "*.safetensors", "*.npy", "*/*.json", "2_Dense/*")
TARGETS = [
    Target(name="student-onnx", build=build, use=use_exported, files=EXPORTED, reseal=reseal_all, cases=0),
    Target(name="student-onnx-sealed", build=build, use=use_exported, files=EXPORTED, strict=True, cases=0),
    Target(name="student-torch", build=build, use=use_torch, files=TORCH, reseal=reseal_all, cases=0),
    Target(name="student-torch-sealed", build=build, use=use_torch, files=TORCH, strict=True, cases=0),
]
