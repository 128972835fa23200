"""``python -m eval.effort``: how far an index has to look for a student's queries, beside its teacher's."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.effort.measure import Asked, measure
from leafkit.command import one_message
from leafkit.evaluation.students import ENCODERS
from leafkit.files.atomic import write_json


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for; an error of leafkit becomes one message and exit code 1."""
    options = vars(_parser().parse_args(arguments))
    out, as_json = options.pop("out"), options.pop("json")
    with one_message():
        found = measure(Asked(**options))
        write_json(out, found)
    sys.stdout.write((json.dumps(found, indent=1) if as_json else table(found)) + "\n")


def table(found: dict[str, Any]) -> str:
    """What each recall takes, for people."""
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
        for need in index["needs"]:
            cells = [f"{need['target']:.2f}"]
            for side in ("teacher", "student"):
                cells += [_number(need[side], ".1f"), _number(need[f"{side}_distances"], ".2%")]
            lines.append("".join(f"{cell:>12}" for cell in cells) + "  " + _ratio(need))
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "never" if value is None else format(value, form)


def _ratio(need: dict[str, Any]) -> str:
    if need["ratio"] is None:
        return "-"
    found = need["ratio_interval"]
    return f"{need['ratio']:.2f}" + ("" if found is None else f" [{found['low']:.2f}, {found['high']:.2f}]")


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number of 1 or more")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.effort", description=__doc__)
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="BEIR folders, joined into one index")
    parser.add_argument("--teacher", required=True, help="what leafkit.open_teacher takes")
    parser.add_argument("--query-prompt", help="text the teacher puts before a query  [default: its own]")
    parser.add_argument("--student", type=Path, required=True, help="a student folder, or the name of one that ships")
    parser.add_argument("--split", default=Asked.split, help="whose queries: test or dev")
    parser.add_argument("--encoder", default=Asked.encoder, choices=ENCODERS, help="what runs the student")
    parser.add_argument(
        "--documents", type=_positive, help="cut larger folders to so many documents, judged ones first"
    )
    parser.add_argument("--queries", type=_positive, default=Asked.queries, help="of each folder, at most")
    parser.add_argument("--builds", type=_positive, default=Asked.builds, help="of each index, in other orders")
    parser.add_argument("--seed", type=int, default=Asked.seed, help="of queries, orders and intervals")
    parser.add_argument("--cache", type=Path, help="teacher vectors already computed  [default: leafkit's]")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--json", action="store_true", help="print that JSON instead of a table")
    return parser


if __name__ == "__main__":
    main()
