"""``python -m eval.frontier``: measure how far documents can be reduced while one student still finds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from eval.frontier.formats import BYTES, PRECISIONS, FrontierPoint, storage_formats
from eval.frontier.measure import frontier_points, measure_formats
from eval.frontier.plot import draw
from leafkit.command import command_line, exit_on_error
from leafkit.evaluation.collection import read_collection
from leafkit.evaluation.provenance import commit, packages
from leafkit.evaluation.students import open_students
from leafkit.files.atomic import write_json
from leafkit.shipped import resolve_student
from leafkit.teachers.open import open_teacher
from leafkit.vectors.cached import cached


def table(points: Sequence[FrontierPoint]) -> str:
    """Return the points as text, a line for each, the cheapest first."""
    lines = ["bytes  in memory  coordinates  dim  precision    nDCG@10 kept            same 100"]
    for point in sorted(points, key=lambda one: (one.bytes, -one.share)):
        interval = point.share_interval
        shown = "" if interval is None else f"[{interval.low:.1%}, {interval.high:.1%}]"
        lines.append(
            f"{point.bytes:5.0f}  {point.memory_bytes:9.0f}  {point.storage.coordinates:11}  {point.dim:3}  "
            f"{point.storage.precision:11}  {point.share:6.1%} {shown:16}  {point.same_100:8.1%}"
        )
    return "\n".join(lines)


def main(
    data: Annotated[list[Path], typer.Option(help="A BEIR folder. Repeat the option for each.")],
    teacher: Annotated[str, typer.Option(help="The teacher that encodes the documents.")],
    student: Annotated[Path, typer.Option(help="The student that encodes the queries.")],
    out: Annotated[Path, typer.Option(help="The result file to write.")],
    dims: Annotated[str, typer.Option(help="Numbers of each document to keep.")] = "256,192,128,96,64",
    precisions: Annotated[str, typer.Option(help=f"One or more of {', '.join(BYTES)}.")] = ",".join(PRECISIONS),
    split: Annotated[str, typer.Option(help="The judgements to use.")] = "test",
    documents: Annotated[int | None, typer.Option(help="At most this many documents of each folder.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of cached teacher vectors.")] = None,
    encoder: Annotated[str, typer.Option(help="torch, onnx or onnx-int8.")] = "torch",
    plot: Annotated[Path | None, typer.Option(help="Also draw a plot into this .svg file.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of rotations and intervals.")] = 0,
    query_prompt: Annotated[str | None, typer.Option(help="Override the teacher's prompt for queries.")] = None,
) -> None:
    """Measure how far documents can be reduced while one student still finds them."""
    formats = list(storage_formats([int(dim) for dim in dims.split(",")], precisions.split(",")))
    opened = cached(open_teacher(teacher, query_prompt=query_prompt), cache)
    (trained,) = open_students([student], encoder, None)
    collections = [read_collection(folder, split, documents=documents) for folder in data]
    scores = {
        one.name: measure_formats(one, formats, opened, trained.encoder, resolve_student(student), seed=seed)
        for one in collections
    }
    common = [place for place in range(len(formats)) if all(len(found[place].values) for found in scores.values())]
    points = frontier_points({name: [found[place] for place in common] for name, found in scores.items()}, seed=seed)
    content = {
        "points": [point.to_json() for point in points],
        "provenance": {
            "command": command_line(),
            "commit": commit(),
            "space": opened.space.to_json(),
            "student": {trained.name: trained.sha256},
            "encoder": encoder,
            "data": [{"name": one.name, "split": split, "sha256": one.sha256} for one in collections],
            "queries": {one.name: len(one.queries) for one in collections},
            "documents": documents,
            "seed": seed,
            "packages": packages(),
        },
    }
    write_json(out, content)
    if plot is not None:
        draw(points, plot)
    typer.echo(table(points))


if __name__ == "__main__":
    with exit_on_error():
        typer.run(main)
