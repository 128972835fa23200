"""Bytes of a document against nDCG@10: prefixes, rotated prefixes and folds, in every precision, for one student.

python -m eval.frontier --data beir/scifact --teacher T --student S --dims 256,128 --out frontier.json
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy
import typer

from eval.frontier_plot import draw
from leafkit.command import command_line, exit_on_error
from leafkit.errors import OptionError
from leafkit.evaluation.bootstrap import Interval, interval, ratios, resampled_means
from leafkit.evaluation.collection import read_collection
from leafkit.evaluation.grid import Cell, CellFinder
from leafkit.evaluation.metrics import MAIN_METRIC, Float64
from leafkit.evaluation.provenance import commit, packages
from leafkit.evaluation.retrieval import search_scores
from leafkit.evaluation.students import open_students
from leafkit.files.atomic import write_json
from leafkit.files.progress import progress
from leafkit.index.coordinates import Coordinates
from leafkit.shipped import resolve_student
from leafkit.space import Space
from leafkit.teachers.open import open_teacher
from leafkit.types import Float32
from leafkit.vectors.cached import cached

PRECISIONS = ("float32", "int8", "int4+none", "binary")
# What a number of a document takes, with what is kept on disk to rescore hits of sign bits.
BYTES = {"float32": 4.0, "int8": 1.0, "int4+none": 1 / 2, "binary": 1 / 8 + 1.0, "binary+none": 1 / 8}
IN_MEMORY = {**BYTES, "binary": 1 / 8}


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to keep a document: its coordinates, how many numbers of them, and their precision.

    ``coordinates``: teacher's own, pca or itq (`leafkit.vectors.rotation`), the student's fold (`leafkit.index.fold`)
    or fold+itq, its signs evened out. ``dim`` None keeps all.
    """

    coordinates: str
    dim: int | None
    precision: str


@dataclass(frozen=True, kw_only=True)
class Point:
    """What a way costs and keeps: ``share`` is nDCG@10 over that of whole float32 vectors, mean over collections.

    ``same_100`` is the share of queries whose hundred best documents are those of whole vectors.
    """

    way: Way
    dim: int
    bytes: float
    memory_bytes: float
    ndcg: dict[str, float]
    share: float
    share_interval: Interval | None
    same_100: float


def ways(dims: Sequence[int], precisions: Sequence[str] = PRECISIONS) -> Iterator[Way]:
    """Every way to measure, whole float32 vectors first: itq is there for sign bits, and its prefixes mean nothing.

    Raises `OptionError` for a precision that has no price.
    """
    for precision in precisions:
        if precision not in BYTES:
            raise OptionError(f"unknown precision {precision!r}; wanted some of {', '.join(BYTES)}")
    if "float32" not in precisions:
        yield Way(coordinates="teacher", dim=None, precision="float32")
    for precision in sorted(precisions, key=lambda one: one != "float32"):
        signs = precision.startswith("binary")
        for coordinates in ("teacher", "pca", "fold", *(["itq", "fold+itq"] if signs else [])):
            for dim in (None,) if coordinates == "itq" else (None, *dims):
                yield Way(coordinates=coordinates, dim=dim, precision=precision)


def kept(
    way: Way, documents: Float32, queries: Float32, space: Space, student: Path, *, seed: int = 0
) -> tuple[Float32, Float32] | None:
    """Documents and queries in the coordinates of ``way`` and cut to its dim; None where it has not so many numbers.

    ``documents`` are the teacher's vectors and ``queries`` the student's, both (rows, space.dim).
    """
    folding = way.coordinates.startswith("fold")
    rotate = next((kind for kind in ("pca", "itq") if way.coordinates.endswith(kind)), None)
    whole = Coordinates(space, student, folding=folding, dim=None, rotate=rotate, seed=seed)
    if way.dim is not None and way.dim >= whole.width:
        return None
    plan = whole
    if folding and way.dim is not None:
        plan = Coordinates(space, student, folding=True, dim=way.dim, rotate=rotate, seed=seed)
    maps = plan.fit(documents)
    if maps.documents is not None:
        documents = maps.documents.apply(documents, "document")
    if maps.student_head is not None:
        queries = maps.student_head.apply(queries, "query")
    dim = way.dim or documents.shape[1]
    return documents[:, :dim], queries[:, :dim]


@dataclass(frozen=True)
class Measured:
    """nDCG@10 of every query in one way, and whose hundred best are those of whole vectors."""

    way: Way
    dim: int
    values: Float64
    same: Float64


def points(collections: dict[str, list[Measured]], *, seed: int) -> list[Point]:
    """A point for each way that was measured on all ``collections``, compared with the first on resampled queries."""
    found = []
    names = list(collections)
    for at, one in enumerate(collections[names[0]]):
        parts = [collections[name][at] for name in names]
        samples = [
            resampled_means(numpy.stack([part.values, collections[name][0].values]), seed=[seed, place])
            for place, (name, part) in enumerate(zip(names, parts, strict=True))
        ]
        shares = numpy.mean([ratios(sample[:, 0], sample[:, 1]) for sample in samples], axis=0)
        exact = [
            part.values.mean() / collections[name][0].values.mean() for name, part in zip(names, parts, strict=True)
        ]
        found.append(
            Point(
                way=one.way,
                dim=one.dim,
                bytes=one.dim * BYTES[one.way.precision],
                memory_bytes=one.dim * IN_MEMORY[one.way.precision],
                ndcg={name: float(part.values.mean()) for name, part in zip(names, parts, strict=True)},
                share=float(numpy.mean(exact)),
                share_interval=interval(shares),
                same_100=float(numpy.concatenate([part.same for part in parts]).mean()),
            )
        )
    return found


def measure(
    folder: Path,
    documents_cut: int | None,
    split: str,
    plan: Sequence[Way],
    teacher: Any,
    student: Any,
    path: Path,
    *,
    seed: int,
) -> tuple[str, str, list[Measured]]:
    """Every way of ``plan`` on one collection, the whole float32 vectors first; with its name and hash."""
    collection = read_collection(folder, split, documents=documents_cut)
    documents = teacher.encode(collection.documents, "document")
    queries = student.encode(collection.queries, "query")
    found: list[Measured] = []
    best: list[set[int]] = []
    with progress(collection.name, total=len(plan), unit="ways") as bar:
        for way in plan:
            pair = kept(way, documents, queries, teacher.space, path, seed=seed)
            bar.update(1)
            if pair is None:
                found.append(Measured(way, 0, numpy.empty(0), numpy.empty(0)))
                continue
            finder = CellFinder(pair[0], Cell(dim=pair[0].shape[1], precision=way.precision))
            top = [set(rows) for rows in finder.nearest(pair[1], min(100, len(documents))).rows.tolist()]
            best = best or top
            scores = search_scores(collection, pair[1], finder).values[MAIN_METRIC]
            same = numpy.array([a == b for a, b in zip(top, best, strict=True)], dtype=float)
            found.append(Measured(way, pair[0].shape[1], scores, same))
    return collection.name, collection.sha256, found


def table(found: Sequence[Point]) -> str:
    """One line a point, the cheapest first."""
    lines = ["bytes  in memory  coordinates  dim  precision    nDCG@10 kept            same 100"]
    for point in sorted(found, key=lambda one: (one.bytes, -one.share)):
        span = point.share_interval
        shown = "" if span is None else f"[{span.low:.1%}, {span.high:.1%}]"
        lines.append(
            f"{point.bytes:5.0f}  {point.memory_bytes:9.0f}  {point.way.coordinates:11}  {point.dim:3}  "
            f"{point.way.precision:11}  {point.share:6.1%} {shown:16}  {point.same_100:8.1%}"
        )
    return "\n".join(lines)


def main(
    data: Annotated[list[Path], typer.Option(help="BEIR folders; the option may be repeated.")],
    teacher: Annotated[str, typer.Option(help="The teacher of the documents.")],
    student: Annotated[Path, typer.Option(help="The student of the queries.")],
    out: Annotated[Path, typer.Option(help="The result file to write.")],
    dims: Annotated[str, typer.Option(help="Numbers to keep of a document.")] = "256,192,128,96,64",
    precisions: Annotated[str, typer.Option(help=f"Some of {', '.join(BYTES)}.")] = ",".join(PRECISIONS),
    split: Annotated[str, typer.Option(help="Judgements to use.")] = "test",
    documents: Annotated[int | None, typer.Option(help="Cut larger corpora to so many documents.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Where teacher vectors are kept.")] = None,
    encoder: Annotated[str, typer.Option(help="torch, onnx or onnx-int8.")] = "torch",
    plot: Annotated[Path | None, typer.Option(help="A picture to draw as well, PLOT.svg.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of rotations and intervals.")] = 0,
    query_prompt: Annotated[str | None, typer.Option(help="Text the teacher puts before a query.")] = None,
) -> None:
    """Measure what documents can be cut to while one student still finds them."""
    plan = list(ways([int(dim) for dim in dims.split(",")], precisions.split(",")))
    opened = cached(open_teacher(teacher, query_prompt=query_prompt), cache)
    (one,) = open_students([student], encoder, None)
    measured = [
        measure(folder, documents, split, plan, opened, one.encoder, resolve_student(student), seed=seed)
        for folder in data
    ]
    common = [at for at in range(len(plan)) if all(len(found[at].values) for _, _, found in measured)]
    found = points({name: [ways[at] for at in common] for name, _, ways in measured}, seed=seed)
    content = {
        "points": [dataclasses.asdict(point) for point in found],
        "provenance": {
            "command": command_line(),
            "commit": commit(),
            "space": opened.space.to_json(),
            "student": {one.name: one.sha256},
            "encoder": encoder,
            "data": [{"name": name, "split": split, "sha256": sha256} for name, sha256, _ in measured],
            "queries": {name: len(ways[0].values) for name, _, ways in measured},
            "documents": documents,
            "seed": seed,
            "packages": packages(),
        },
    }
    write_json(out, content)
    if plot is not None:
        draw(found, plot)
    typer.echo(table(found))


if __name__ == "__main__":
    with exit_on_error():
        typer.run(main)
