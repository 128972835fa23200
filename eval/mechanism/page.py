"""The page of all mechanism tests, made from their result files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.mechanism.run import RESULTS

PAGE = RESULTS.with_suffix(".md")
TITLE = "Does each method do what its paper says?"
QUESTION = (
    "Does each distillation method do what its paper says if the premise of the paper is planted, compared with the "
    "control that its reviewers would ask for?"
)
NOTE = """A student is a perceptron on cached features of real texts, trained in seconds; each seed draws other texts, \
another start and another order. A difference is that of the method and its control, paired by seed, with a 95 % \
t-interval that is not corrected for the number of rows. *Shown* means that the interval lies above 0, *refuted* that \
it lies below 0. The last column is the smallest effect that the seeds would have found in four of five cases. These \
figures say whether a mechanism works, not whether a user gains from it."""


def read_results(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Return the result files of ``folder``, by name of the method."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def page(results: Sequence[dict[str, Any]]) -> str:
    """Return the page of ``results`` as Markdown."""
    lines = [f"# {TITLE}", "", f"**Question.** {QUESTION}", "", f"**Answer.** {_answer(results)}", "", NOTE, ""]
    lines += [
        "| method | figure | method | control | difference | 95 % interval | verdict | could have seen |",
        "| --- | --- | ---: | ---: | ---: | --- | --- | ---: |",
        *map(_row, results),
    ]
    for result in results:
        lines += ["", *_section(result)]
    commands = sorted({result["command"] for result in results})
    lines += ["", "## Commands", "", "```console", *(f"$ {command}" for command in commands), "```", ""]
    return "\n".join(lines)


def _answer(results: Sequence[dict[str, Any]]) -> str:
    by_verdict: dict[str, list[str]] = {"shown": [], "refuted": [], "unresolved": []}
    for result in results:
        by_verdict[result["difference"]["verdict"]].append(result["method"])
    counts = Counter({verdict: len(methods) for verdict, methods in by_verdict.items()})
    said = [
        f"{verdict} for {counts[verdict]} ({', '.join(methods)})" for verdict, methods in by_verdict.items() if methods
    ]
    return f"Of {len(results)} methods, the claim is {', '.join(said)}."


def _row(result: dict[str, Any]) -> str:
    difference = result["difference"]
    method, control = (_mean(result["arms"][arm]) for arm in difference["of"])
    cells = (
        f"[{result['method']}](mechanism/{result['method']}.json)",
        result["figure"].partition(";")[0],
        f"{method:.4f}",
        f"{control:.4f}",
        f"{difference['mean']:+.4f}",
        f"{difference['low']:+.4f} to {difference['high']:+.4f}",
        difference["verdict"],
        f"{difference['smallest']:.4f}",
    )
    return f"| {' | '.join(cells)} |"


def _section(result: dict[str, Any]) -> list[str]:
    arms = ", ".join(f"{arm} {_mean(values):.4f}" for arm, values in result["arms"].items())
    return [
        f"## {result['method']}",
        "",
        f"* Claim: {result['claim']}",
        f"* Planted: {result['premise']}",
        f"* Control: {result['control']}",
        f"* Figure: {result['figure']}",
        f"* Arms (mean of {len(result['seeds'])} seeds): {arms}. {result['seconds']:.0f} s of one core.",
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
