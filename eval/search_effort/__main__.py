"""``python -m eval.search_effort``: compare the search effort of a student's queries with its teacher's."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.arguments import positive
from eval.search_effort.measure import EffortOptions, measure
from leafkit.command import exit_on_error
from leafkit.evaluation.students import ENCODERS
from leafkit.files.atomic import write_json


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error of leafkit becomes one message and exit code 1."""
    options = vars(_parser().parse_args(arguments))
    out, as_json = options.pop("out"), options.pop("json")
    with exit_on_error():
        found = measure(EffortOptions(**options))
        write_json(out, found)
    sys.stdout.write((json.dumps(found, indent=1) if as_json else table(found)) + "\n")


def table(found: dict[str, Any]) -> str:
    """Return the required depths as a table of text."""
    lines = [
        f"recall@{found['hits']} against exact search, {found['documents']:,} documents, {found['queries']:,} queries, "
        f"means of {found['builds']} builds; distances: share of the documents that a query is compared with",
    ]
    for index in found["indexes"]:
        heads = ("recall", "teacher", "distances", "student", "distances", "student / teacher")
        lines += [
            "",
            f"{index['index']}, {index['depth']}",
            "".join(f"{head:>12}" for head in heads[:-1]) + "  " + heads[-1],
        ]
        for depth in index["needs"]:
            cells = [f"{depth['target']:.2f}"]
            for side in ("teacher", "student"):
                cells += [_number(depth[side], ".1f"), _number(depth[f"{side}_distances"], ".2%")]
            lines.append("".join(f"{cell:>12}" for cell in cells) + "  " + _ratio(depth))
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "never" if value is None else format(value, form)


def _ratio(depth: dict[str, Any]) -> str:
    if depth["ratio"] is None:
        return "-"
    interval = depth["ratio_interval"]
    return f"{depth['ratio']:.2f}" + ("" if interval is None else f" [{interval['low']:.2f}, {interval['high']:.2f}]")


def _parser() -> argparse.ArgumentParser:
    default = EffortOptions
    parser = argparse.ArgumentParser(prog="python -m eval.search_effort", description=__doc__)
    add = parser.add_argument
    add("--data", nargs="+", type=Path, required=True, help="BEIR folders; their documents form one index")
    add("--teacher", required=True, help="a teacher, as leafkit.open_teacher takes it")
    add("--query-prompt", help="override the teacher's prompt for queries")
    add("--student", type=Path, required=True, help="a student folder, or the name of a shipped student")
    add("--split", default=default.split, help="the judgements to use: test or dev")
    add("--encoder", default=default.encoder, choices=ENCODERS, help="the runtime of the student")
    add("--documents", type=positive, help="at most this many documents of each folder, judged ones first")
    add("--queries", type=positive, default=default.queries, help="at most this many queries of each folder")
    add("--builds", type=positive, default=default.builds, help="builds of each index, in different orders")
    add("--seed", type=int, default=default.seed, help="seed of queries, orders and intervals")
    add("--cache", type=Path, help="folder of cached teacher vectors  [default: leafkit's own]")
    add("--out", type=Path, required=True, help="the JSON file to write")
    add("--json", action="store_true", help="print that JSON instead of a table")
    return parser


if __name__ == "__main__":
    main()
