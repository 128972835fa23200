"""leafkit compare: whether a recipe is worth more than a baseline on a task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from leafkit.cli.options import Cache, Json


def compare(
    recipe: Annotated[
        list[str],
        typer.Option(help="A recipe's file or name, the baseline first; repeat it for each.", show_default=False),
    ],
    data_root: Annotated[
        Path, typer.Option(help="The folder that holds the data folder of the task.", show_default=False)
    ],
    task: Annotated[
        str,
        typer.Option(
            help="retrieval (tldr-commands, nDCG@10 on the teacher's documents), similarity (stsb-en, Spearman) or "
            "classes (banking77, accuracy)."
        ),
    ] = "retrieval",
    seeds: Annotated[int, typer.Option(help="Trainings of each recipe.")] = 5,
    split: Annotated[str, typer.Option(help="test, or dev to choose a recipe's values on.")] = "test",
    work: Annotated[
        Path | None, typer.Option(help="Folder of finished runs, which are reused  [default: compare in the cache]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the result to this .json file, or NAME.json of each into this folder.")
    ] = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Train recipes once per seed, the first being the baseline, and compare what their students are worth.

    The difference comes with a 95 % interval of a paired bootstrap over seeds and items; the verdict is beats, loses
    or ties. Stopped at any moment, the same command goes on where it was.

    \b
    leafkit compare --recipe plain.toml --recipe mine.toml --data-root bench --seeds 5 --out mine.json
    leafkit compare --recipe a.toml --recipe b.toml --recipe c.toml --task classes --data-root bench --out results/
    """
    from leafkit.evaluation.compare.report import check_out, table, write_results
    from leafkit.evaluation.compare.run import compare as run

    if out:
        check_out(out, len(recipe) - 1)
    found = run(recipe, task=task, seeds=seeds, split=split, data_root=data_root, work=work, cache=cache)
    if out:
        write_results(found, out)
    typer.echo(json.dumps(found, indent=1, ensure_ascii=False) if as_json else table(found))
