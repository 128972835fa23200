"""leafkit compare: test whether recipes are better than a baseline on a task."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import Json, with_options
from leafkit.cli.printing import say, say_json
from leafkit.evaluation.compare.options import ComparisonOptions
from leafkit.files.options import CacheOptions


@with_options(ComparisonOptions, CacheOptions)
def compare(
    recipe: Annotated[
        list[str],
        typer.Option(
            help="A recipe file that names its texts and teacher. Repeat the option; the first is the baseline.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Write the result to this .json file, or one NAME.json per recipe into this folder."),
    ] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Train each recipe once per seed and compare its students with those of the first recipe, the baseline.

    The difference is given with a 95 % interval from a paired bootstrap over seeds and items. The verdict is beats,
    loses or ties. An interrupted command continues where it stopped when it is repeated.

    \b
    leafkit compare --recipe plain.toml --recipe mine.toml --data-root bench --seeds 5 --out mine.json
    leafkit compare --recipe a.toml --recipe b.toml --recipe c.toml --task classes --data-root bench --out results/
    """
    from leafkit.evaluation.compare.report import check_out, table, write_results
    from leafkit.evaluation.compare.run import compare as run

    if out:
        check_out(out, len(recipe) - 1)
    found = run(recipe, **options)
    if out:
        write_results(found, out)
    if as_json:
        say_json(found, indent=1)
    else:
        say(table(found))
