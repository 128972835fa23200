"""What a table of experiments found: a row for each variant with its difference to the base, and its command."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from eval.experiments.measuring import MEAN, figure
from eval.experiments.run import Result
from eval.experiments.statistics import Difference, Summary, difference, summary
from eval.experiments.table import BASE, Variant
from eval.experiments.texts import Chosen
from leafkit.training.recipe import Recipe

NOTE = (
    "mean ± standard deviation over seeds; [95 % t-interval of the difference to the base, paired by seed]: it covers "
    "the chance of training, not of the queries, and is not corrected for the number of variants"
)


def summaries(results: Sequence[Result]) -> dict[str, Summary]:
    """Every figure of one variant over its seeds, the seconds of training among them; runs that failed are left out."""
    done = [result for result in results if "failed" not in result]
    names = list(dict.fromkeys(name for result in done for name in result["figures"]))
    found = {name: summary([result["figures"][name] for result in done]) for name in names}
    return found | ({"seconds": summary([result["seconds"] for result in done])} if done else {})


def differences(variant: Sequence[Result], base: Sequence[Result]) -> dict[str, Difference]:
    """Every figure of ``variant`` that ``base`` has as well, less that of ``base``, paired by seed."""
    found = {}
    for name in summaries(variant):
        if name == "seconds":
            continue
        pairs = [_by_seed(name, results) for results in (variant, base)]
        if (apart := difference(*pairs)) is not None:
            found[name] = apart
    return found


def command(variant: Variant, texts: Chosen, run: Result) -> str:
    """The ``leafkit distill`` of a ``run`` of ``variant``, or which rival it is."""
    if variant.kind != "distill":
        return f"# {variant.name}: {variant.kind}, by this table alone"
    words = ["leafkit", "distill", str(texts.train), "--valid", str(texts.valid), "--teacher", variant.teacher]
    words += [*_options(variant.teacher_options), "--student", variant.student, *_options(Recipe(**run["recipe"]))]
    words += [word for feed in variant.feeds for word in ("--feed", feed)]
    return shlex.join([*words, "--no-export", "--out", variant.name])


def table(results: Mapping[str, Sequence[Result]], modes: Sequence[str]) -> str:
    """A Markdown table with a row for each variant."""
    shown = ["cosine", "cosine query", "cosine document", *(figure(mode) for mode in modes)]
    judged = ["cosine", *(figure(mode) for mode in modes)]
    titles = [name.removesuffix(f" {MEAN}") for name in shown]
    rows = [["variant", *titles, *(f"Δ {name.removesuffix(f' {MEAN}')}" for name in judged), "seconds"]]
    rows.append(["---", *["---:"] * (len(shown) + len(judged) + 1)])
    for name, runs in results.items():
        found, apart = summaries(runs), {} if name == BASE else differences(runs, results[BASE])
        failed = sum("failed" in run for run in runs)
        title = f"{name} ({failed} of {len(runs)} failed)" if failed else name
        seconds = f"{found['seconds'].mean:.0f}" if found else "-"
        cells = [*(_mean(found.get(one)) for one in shown), *(_apart(apart.get(one)) for one in judged)]
        rows.append([title, *cells, seconds])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + f"\n\n{NOTE}"


def _options(chosen: Any) -> list[str]:
    """Those fields of a dataclass that differ from its defaults, as options of the command line."""
    words = []
    for one in dataclasses.fields(chosen):
        value = getattr(chosen, one.name)
        if value == one.default:
            continue
        option = one.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return words


def _by_seed(name: str, results: Sequence[Result]) -> dict[int, float]:
    return {result["seed"]: result["figures"][name] for result in results if name in result["figures"]}


def _mean(found: Summary | None) -> str:
    if found is None:
        return "-"
    return f"{found.mean:.4f}" + ("" if found.deviation is None else f" ± {found.deviation:.4f}")


def _apart(found: Difference | None) -> str:
    if found is None:
        return "-"
    if found.low is None:
        return f"{found.mean:+.4f}"
    return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}] {found.verdict}"
