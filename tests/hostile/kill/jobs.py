"""The jobs that are killed: everything in leafkit that writes."""

from __future__ import annotations

import json
import random
import runpy
from pathlib import Path

import numpy

import leafkit
from leafkit.errors import InputError
from leafkit.search.package import open_package
from leafkit.search.searcher import Searcher
from leafkit.vectors import store as store_module
from leafkit.vectors.store import VectorStore
from leafkit.vectors.vectors_file import open_vectors_file
from tests.conftest import WORDS, make_model
from tests.fixtures.packages import SPACE, index_vectors, update_vectors

FILLING = runpy.run_path(str(Path(__file__).resolve().parents[2] / "vectors" / "filling.py"))
ROWS = 400


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def only(folder: Path, expected: set[str]) -> None:
    assert names(folder) == expected, f"leftovers in {folder}: {names(folder) - expected}"


class Store:
    """The store of teacher vectors, filled in blocks of 64."""

    def prepare(self, folder):
        pass

    def run(self, folder, number):
        store_module.BLOCK = 64
        teacher = FILLING["HashTeacher"](pause=0.002)
        texts = [f"{number} {text}" for text in FILLING["TEXTS"]]
        VectorStore.open(folder, teacher.space).fill(teacher, texts, FILLING["ROLES"])

    def check(self, folder, number):
        VectorStore.open(folder, FILLING["HashTeacher"]().space).verify()

    def result(self, folder):
        (store,) = folder.iterdir()
        only(store, {"keys.bin", "vectors.bin", "manifest.json", "lock"})
        return contents(store)


class Embed:
    """`embed` to a file, overwritten round by round, with its cache beside it."""

    def __init__(self, suffix):
        self.suffix = suffix

    def prepare(self, folder):
        rows = [{"_id": str(i), "text": f"text {i}", "source": "x"} for i in range(3000)]
        (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(self, folder, number):
        store_module.BLOCK = 256
        teacher = FILLING["HashTeacher"](pause=0.001)
        out = folder / "out" / f"vectors.{self.suffix}"
        leafkit.embed(folder / "texts.jsonl", teacher, out, cache=folder / "cache", overwrite=True)

    def check(self, folder, number):
        out = folder / "out" / f"vectors.{self.suffix}"
        if out.exists():
            assert sum(len(batch.texts) for batch in open_vectors_file(out).batches) == 3000

    def result(self, folder):
        sides = [".jsonl", ".space.json"] if self.suffix == "npy" else []
        only(folder / "out", {f"vectors.{self.suffix}", *(f"vectors{side}" for side in sides)})
        return contents(folder)


def rows_of(number, count=ROWS):
    return numpy.random.default_rng(number).standard_normal((count, 64)).astype(numpy.float32)


def files_of(index):
    """The hashes of an index's files, after every byte was checked and no other file was found."""
    manifest = open_package(index, verify=True).manifest
    only(index, {*(Path(name).parts[0] for name in manifest.files), "manifest.json"})
    return {**{name: facts["sha256"] for name, facts in manifest.files.items()}, "count": manifest.count}


def ids_of(index):
    return set(Searcher.open(index).search(numpy.ones(64, dtype=numpy.float32), 10_000).ids)


class Build:
    """An index, built and then overwritten round by round."""

    def prepare(self, folder):
        pass

    def ids(self, number):
        return [f"build {number} row {row}" for row in range(ROWS)]

    def run(self, folder, number):
        out = folder / "docs.index"
        index_vectors(self.ids(number), rows_of(number), SPACE, out, overwrite=True, factory="HNSW32", threads=1)

    def check(self, folder, number):
        try:
            found = ids_of(folder / "docs.index")
        except InputError:
            assert number == 0
            return
        assert found in [set(self.ids(number)), set(self.ids(number - 1))]

    def result(self, folder):
        only(folder, {"docs.index"})
        return files_of(folder / "docs.index")


class Update:
    """An index that gains, loses and replaces documents round by round, compacted and given words now and then."""

    def prepare(self, folder):
        index_vectors([f"doc {row}" for row in range(ROWS)], rows_of(0), SPACE, folder / "docs.index", factory="HNSW16")

    def change(self, number):
        """The ids to add or replace, and those to remove, in round ``number``."""
        draw = random.Random(number)
        add = {f"doc {draw.randrange(2 * ROWS)}" for _ in range(60)}
        return sorted(add), sorted({f"doc {draw.randrange(2 * ROWS)}" for _ in range(60)} - add)

    def run(self, folder, number):
        add, remove = self.change(number)
        compact = [None, True, False][number % 3]
        lexical = [None, False, True, True][number % 4]
        vectors = rows_of(1000 + number, len(add))
        payload = [{"text": f"round {number}"}] * len(add)
        update_vectors(
            folder / "docs.index",
            ids=add,
            vectors=vectors,
            payload=payload,
            remove=remove,
            replace=True,
            compact=compact,
            lexical=lexical,
        )

    def check(self, folder, number):
        found = ids_of(folder / "docs.index")
        before = {f"doc {row}" for row in range(ROWS)}
        for past in range(number):
            add, remove = self.change(past)
            before = before - set(remove) | set(add)
        add, remove = self.change(number)
        assert found in [before, before - set(remove) | set(add)]

    def result(self, folder):
        only(folder, {"docs.index"})
        index = folder / "docs.index"
        files_of(index)
        searcher = Searcher.open(index)
        words = searcher.lexical.search("round 1 2 3", 100) if "words" in searcher.manifest.parts else None
        ranked = None if words is None else [round(float(score), 5) for score in words.scores]
        hits, scores = self.hits(searcher)
        return {hits: [round(float(score), 5) for score in scores], "words": ranked}

    def hits(self, searcher):
        found = searcher.search(numpy.ones(64, dtype=numpy.float32), 10_000)
        order = sorted(range(len(found.ids)), key=lambda at: found.ids[at])
        texts = [found.payload[at]["text"] for at in order]
        return tuple(zip([found.ids[at] for at in order], texts)), [found.scores[at] for at in order]


class Distill:
    """A student of one layer with frequent checkpoints, written over the last one; with ONNX files only if asked."""

    def __init__(self, *, export=False):
        self.export = export

    def prepare(self, folder):
        draw = random.Random(0)
        texts = [" ".join(draw.choices(WORDS, k=6)) + f" {i}" for i in range(64)]
        (folder / "texts.txt").write_text("\n".join(texts))
        make_model(folder / "teacher", width=32, layers=2, seed=1)

    def run(self, folder, number):
        import torch

        torch.set_num_threads(1)
        leafkit.distill(
            folder / "texts.txt",
            folder / "teacher",
            "teacher:layers=1",
            folder / "student",
            cache=folder / "cache",
            precision="float32",
            batch_size=8,
            epochs=6,
            checkpoint_every=3,
            export=self.export,
            overwrite=True,
            seed=number,
        )

    def check(self, folder, number):
        from leafkit.students.encoder import open_student

        if number or (folder / "student").exists():
            open_student(folder / "student", device="cpu")

    def result(self, folder):
        only(folder, {"texts.txt", "teacher", "teacher-transformer", "cache", "student"})
        return {name: content for name, content in contents(folder / "student").items() if name not in VARYING}


VARYING = {"leafkit.json", "README.md"}  # times, paths and the command of the run


class Export(Distill):
    """The ONNX files inside a student, written over the last ones."""

    def prepare(self, folder):
        super().prepare(folder)
        super().run(folder, 0)

    def run(self, folder, number):
        leafkit.export(folder / "student", overwrite=True)

    def result(self, folder):
        only(folder / "student" / "onnx", {"model.onnx", "model_quantized.onnx", "export.json"})
        assert not [path for path in (folder / "student").iterdir() if path.name.startswith(".")]
        return super().result(folder)

    def check(self, folder, number):
        from leafkit.search.query_encoder import QueryEncoder

        if (folder / "student" / "onnx").exists():
            QueryEncoder.open(folder / "student")
        else:
            assert number == 0


JOBS = {
    "store": Store(),
    "embed-npy": Embed("npy"),
    "embed-parquet": Embed("parquet"),
    "build": Build(),
    "update": Update(),
    "distill": Distill(),
    "export": Export(),
}
