"""The result of a comparison: as JSON and as a Markdown table."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from leafkit.errors import OptionError
from leafkit.evaluation.bootstrap import RESAMPLES
from leafkit.evaluation.compare.recipes import RecipeEntry
from leafkit.evaluation.compare.statistics import bootstrap_difference, figures
from leafkit.evaluation.compare.study import Run
from leafkit.evaluation.compare.tasks import Task
from leafkit.evaluation.provenance import commit, packages
from leafkit.files.atomic import write_json
from leafkit.files.disk_errors import explain_disk_errors
from leafkit.methods.ledger import format_difference
from leafkit.version import __version__

Result = dict[str, Any]
Side = tuple[RecipeEntry, Sequence[Run]]

NOTE = (
    "difference: the recipe's mean over seeds minus the baseline's; low, high: the middle 95 % of a paired bootstrap "
    "over seeds and items together; beats: the interval is above 0; loses: below 0; ties: neither; not corrected for "
    "the number of recipes"
)


def result(task: Task, system: Side, baseline: Side) -> Result:
    """Return the result of one recipe, the ``system`` in the JSON, against its baseline.

    Both sides have runs of the same seeds in the same order.
    """
    entries = {"system": system[0], "baseline": baseline[0]}
    runs = {"system": system[1], "baseline": baseline[1]}
    scores = {side: numpy.array([run["scores"] for run in side_runs]) for side, side_runs in runs.items()}
    difference = bootstrap_difference(scores["system"], scores["baseline"], task.statistic)
    seeds = [run["seed"] for run in runs["system"]]
    return {
        "system": entries["system"].name,
        "baseline": entries["baseline"].name,
        "task": task.name,
        "metric": task.metric,
        "verdict": difference.verdict,
        "difference": dataclasses.asdict(difference),
        "means": {side: figures(values, task.statistic).tolist() for side, values in scores.items()},
        "seeds": seeds,
        "counts": {"seeds": len(seeds), "items": scores["system"].shape[1], "resamples": RESAMPLES},
        "teacher_calls": {side: _mean_of("teacher_calls", side_runs) for side, side_runs in runs.items()},
        "steps": {side: _mean_of("steps", side_runs) for side, side_runs in runs.items()},
        "seconds": {side: _mean_of("seconds", side_runs) for side, side_runs in runs.items()},
        "methods": {side: side_runs[0]["methods"] for side, side_runs in runs.items()},
        "recipes": {
            side: {"path": entry.given, "sha256": entry.sha256, "texts": entry.portable_texts()}
            for side, entry in entries.items()
        },
        "data": task.facts,
        "command": command(task, entries, len(seeds)),
        "commit": commit(),
        "run_commits": sorted({str(run["commit"]) for side_runs in runs.values() for run in side_runs}),
        "versions": {"leafkit": __version__, **packages()},
        "note": NOTE,
    }


def command(task: Task, entries: dict[str, RecipeEntry], seeds: int) -> str:
    """Return the ``leafkit compare`` command that repeats this result, without the folders, which differ by machine."""
    words = ["leafkit", "compare", "--recipe", entries["baseline"].given, "--recipe", entries["system"].given]
    words += ["--task", task.name, "--seeds", str(seeds)]
    words += [] if task.facts["split"] == "test" else ["--split", task.facts["split"]]
    return shlex.join(words)


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table with a row for the baseline and a row for each other recipe."""
    first = results[0]
    rows = [["recipe", first["metric"], "difference", "verdict"]]
    rows.append([first["baseline"], _mean(first["means"]["baseline"]), "", "baseline"])
    for one in results:
        rows.append(
            [one["system"], _mean(one["means"]["system"]), format_difference(one["difference"]), one["verdict"]]
        )
    data, counts = first["data"], first["counts"]
    caption = f"{data['name']} {data['split']}, {counts['items']} items, {counts['seeds']} seed(s); {NOTE}"
    return f"{markdown_table(rows, ['---', '---:', '---', '---'])}\n\n{caption}"


def markdown_table(rows: Sequence[Sequence[str]], alignment: Sequence[str]) -> str:
    """Return ``rows``, the header first, as a Markdown table; ``alignment`` has ``---`` or ``---:`` per column."""
    header, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, alignment, *body))


def check_out(out: Path, results: int) -> None:
    """Raise `OptionError` if ``out`` is one .json file for several results. Call before hours of training."""
    if out.suffix == ".json" and results != 1:
        raise OptionError(
            f"{out} is one file, but {results} recipes are compared with the baseline. Give a folder, in which each "
            "recipe gets a file NAME.json."
        )


def write_results(results: Sequence[Result], out: Path) -> None:
    """Write the only result to the .json file ``out``, or every result to ``out``/NAME.json."""
    check_out(out, len(results))
    folder = out.parent if out.suffix == ".json" else out
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for one in results:
        write_json(out if out.suffix == ".json" else folder / f"{one['system']}.json", one)


def _mean_of(name: str, runs: Sequence[Run]) -> float:
    """Return the mean of a count or time over runs; most counts are the same in all of them."""
    value = sum(run[name] for run in runs) / len(runs)
    return int(value) if value == int(value) else round(value, 2)


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.4f}"
