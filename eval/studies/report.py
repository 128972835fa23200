"""The report of a study: each variant with its difference from the base, and the command of a run."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from eval.studies.figures import MEAN, figure_name
from eval.studies.table import BASE, Variant
from eval.studies.texts import StudyTexts
from leafkit.evaluation.compare.report import markdown_table
from leafkit.evaluation.compare.statistics import SeedDifference, Summary, seed_difference, summary
from leafkit.evaluation.compare.study import Run
from leafkit.training.recipe import Recipe

NOTE = (
    "mean ± standard deviation over seeds; [95 % t-interval of the difference from the base, paired by seed]: "
    "it covers the randomness of training, not of the queries, and is not corrected for the number of variants"
)


def summaries(runs: Sequence[Run]) -> dict[str, Summary]:
    """Return every figure of one variant over its seeds, and the seconds of training. Failed runs are left out."""
    finished = [run for run in runs if "failed" not in run]
    names = list(dict.fromkeys(name for run in finished for name in run["figures"]))
    figures = {name: summary([run["figures"][name] for run in finished]) for name in names}
    return figures | ({"seconds": summary([run["seconds"] for run in finished])} if finished else {})


def differences(variant: Sequence[Run], base: Sequence[Run]) -> dict[str, SeedDifference]:
    """Return the difference of every figure that ``variant`` and ``base`` share, paired by seed."""
    found = {}
    for name in summaries(variant):
        if name == "seconds":
            continue
        difference = seed_difference(_by_seed(name, variant), _by_seed(name, base))
        if difference is not None:
            found[name] = difference
    return found


def command(variant: Variant, texts: StudyTexts, run: Run) -> str:
    """Return the ``leafkit distill`` command of ``run``, or a comment that names another trainer."""
    if variant.kind != "distill":
        return f"# {variant.name}: {variant.kind}, only in this study"
    words = ["leafkit", "distill", str(texts.train), "--valid", str(texts.valid), "--teacher", variant.teacher]
    words += [*_options(variant.teacher_options), "--student", variant.student, *_options(Recipe(**run["recipe"]))]
    words += [word for feed in variant.feeds for word in ("--feed", feed)]
    return shlex.join([*words, "--no-export", "--out", variant.name])


def table(results: Mapping[str, Sequence[Run]], modes: Sequence[str]) -> str:
    """Return a Markdown table with a row for each variant."""
    columns = ["cosine", "cosine query", "cosine document", *(figure_name(mode) for mode in modes)]
    compared = ["cosine", *(figure_name(mode) for mode in modes)]
    titles = [name.removesuffix(f" {MEAN}") for name in columns]
    rows = [["variant", *titles, *(f"Δ {name.removesuffix(f' {MEAN}')}" for name in compared), "seconds"]]
    for name, runs in results.items():
        figures, difference = summaries(runs), {} if name == BASE else differences(runs, results[BASE])
        failed = sum("failed" in run for run in runs)
        title = f"{name} ({failed} of {len(runs)} failed)" if failed else name
        seconds = f"{figures['seconds'].mean:.0f}" if figures else "-"
        means = [_mean(figures.get(column)) for column in columns]
        rows.append([title, *means, *(_difference(difference.get(column)) for column in compared), seconds])
    alignment = ["---", *["---:"] * (len(columns) + len(compared) + 1)]
    return f"{markdown_table(rows, alignment)}\n\n{NOTE}"


def _options(values: Any) -> list[str]:
    """Return the fields of a dataclass that differ from their defaults as command-line options."""
    words = []
    for field in dataclasses.fields(values):
        value = getattr(values, field.name)
        if value == field.default:
            continue
        option = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return words


def _by_seed(name: str, runs: Sequence[Run]) -> dict[int, float]:
    return {run["seed"]: run["figures"][name] for run in runs if name in run["figures"]}


def _mean(figure: Summary | None) -> str:
    if figure is None:
        return "-"
    return f"{figure.mean:.4f}" + ("" if figure.deviation is None else f" ± {figure.deviation:.4f}")


def _difference(difference: SeedDifference | None) -> str:
    if difference is None:
        return "-"
    if difference.low is None:
        return f"{difference.mean:+.4f}"
    return f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}] {difference.verdict}"
