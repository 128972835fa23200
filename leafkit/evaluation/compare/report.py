"""What a comparison found, as the JSON that the ledger reads and as a table."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from leafkit.errors import OptionError
from leafkit.evaluation.bootstrap import RESAMPLES
from leafkit.evaluation.compare.recipes import Entry
from leafkit.evaluation.compare.statistics import difference, figures
from leafkit.evaluation.compare.tasks import Task
from leafkit.evaluation.provenance import commit, packages
from leafkit.files.atomic import disk_errors, write_json
from leafkit.methods.ledger import format_difference
from leafkit.version import __version__

Result = dict[str, Any]
Run = dict[str, Any]

NOTE = (
    "difference: the system's mean over seeds less the baseline's; low, high: the middle 95 % of a paired bootstrap "
    "over seeds and items at once; beats above 0, loses below 0, else ties; not corrected for the number of systems"
)


def result(task: Task, system: tuple[Entry, Sequence[Run]], baseline: tuple[Entry, Sequence[Run]]) -> Result:
    """Everything about one system against its baseline; both with runs of the same seeds in the same order."""
    entries = {"system": system[0], "baseline": baseline[0]}
    runs = {"system": system[1], "baseline": baseline[1]}
    scores = {side: numpy.array([run["scores"] for run in of]) for side, of in runs.items()}
    apart = difference(scores["system"], scores["baseline"], task.statistic)
    seeds = [run["seed"] for run in runs["system"]]
    return {
        "system": entries["system"].name,
        "baseline": entries["baseline"].name,
        "task": task.name,
        "metric": task.metric,
        "verdict": apart.verdict,
        "difference": dataclasses.asdict(apart),
        "means": {side: figures(values, task.statistic).tolist() for side, values in scores.items()},
        "seeds": seeds,
        "counts": {"seeds": len(seeds), "items": scores["system"].shape[1], "resamples": RESAMPLES},
        "teacher_calls": {side: _each("teacher_calls", of) for side, of in runs.items()},
        "steps": {side: _each("steps", of) for side, of in runs.items()},
        "seconds": {side: _each("seconds", of) for side, of in runs.items()},
        "methods": {side: of[0]["methods"] for side, of in runs.items()},
        "recipes": {
            side: {"path": one.given, "sha256": one.sha256, "texts": one.texts} for side, one in entries.items()
        },
        "data": task.facts,
        "command": command(task, entries, len(seeds)),
        "commit": commit(),
        "run_commits": sorted({str(run["commit"]) for of in runs.values() for run in of}),
        "versions": {"leafkit": __version__, **packages()},
        "note": NOTE,
    }


def command(task: Task, entries: dict[str, Entry], seeds: int) -> str:
    """The ``leafkit compare`` that makes this one result again, with the default folders."""
    words = ["leafkit", "compare", "--recipe", entries["baseline"].given, "--recipe", entries["system"].given]
    words += ["--task", task.name, "--seeds", str(seeds)]
    words += [] if task.facts["split"] == "test" else ["--split", task.facts["split"]]
    return shlex.join(words)


def table(results: Sequence[Result]) -> str:
    """A Markdown table with a row for each system, the baseline above."""
    first = results[0]
    rows = [["recipe", first["metric"], "difference", "verdict"], ["---", "---:", "---", "---"]]
    rows.append([first["baseline"], _mean(first["means"]["baseline"]), "", "baseline"])
    for one in results:
        rows.append(
            [one["system"], _mean(one["means"]["system"]), format_difference(one["difference"]), one["verdict"]]
        )
    counts = first["counts"]
    where = f"{first['data']['name']} {first['data']['split']}, {counts['items']} items, {counts['seeds']} seed(s)"
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + f"\n\n{where}; {NOTE}"


def check_out(out: Path, systems: int) -> None:
    """Raise `OptionError` where ``out`` is one .json file for several systems; asked before hours of training."""
    if out.suffix == ".json" and systems != 1:
        raise OptionError(f"{out} is one file for {systems} systems; give a folder, which gets a NAME.json for each")


def write_results(results: Sequence[Result], out: Path) -> None:
    """Write the one result to the .json file ``out``, or each to ``out``/NAME.json."""
    check_out(out, len(results))
    folder = out.parent if out.suffix == ".json" else out
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for one in results:
        write_json(out if out.suffix == ".json" else folder / f"{one['system']}.json", one)


def _each(name: str, runs: Sequence[Run]) -> float:
    """The mean over runs; of most counts they all have the same."""
    value = sum(run[name] for run in runs) / len(runs)
    return int(value) if value == int(value) else round(value, 2)


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.4f}"
