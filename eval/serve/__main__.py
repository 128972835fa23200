"""``python -m eval.serve``: measure ``leafkit serve`` beside rivals, or load it for a long time with ``soak``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.arguments import positive
from eval.bench.machine import describe_machine, load
from eval.serve.apps import OURS, RIVALS
from eval.serve.compare import CLIENTS, compare, read_queries, table
from eval.serve.soak import soak
from leafkit.command import exit_on_error


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error of leafkit becomes one message and exit code 1, a failed soak exit code 1."""
    options = _parser().parse_args(arguments)
    with exit_on_error():
        before = load()
        found = options.run(options)
        report = {"machine": describe_machine(), "load_before": before, "load_after": load(), **found}
    text = json.dumps(report if options.json else found, indent=1)
    if options.command == "compare" and not options.json:
        text = f"{table(found)}\n\nload average before {before}, after {report['load_after']}"
    sys.stdout.write(text + "\n")
    sys.exit(0 if found.get("passed", True) else 1)


def _compare(options: argparse.Namespace) -> dict[str, Any]:
    return compare(
        options.index,
        read_queries(options.queries),
        kinds=options.apps,
        model=options.model,
        clients=options.clients,
        seconds=options.seconds,
        rounds=options.rounds,
        k=options.k,
    )


def _soak(options: argparse.Namespace) -> dict[str, Any]:
    return soak(
        options.index,
        read_queries(options.queries),
        seconds=options.seconds,
        share=options.share,
        update_every=options.update_every,
        k=options.k,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.serve", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    apps = [OURS, *RIVALS]
    one = commands.add_parser("compare", help="requests per second and latencies of several apps")
    one.add_argument("--apps", nargs="+", default=apps, choices=apps, help="what is measured")
    one.add_argument("--clients", nargs="+", type=positive, default=list(CLIENTS), help="clients that ask at once")
    one.add_argument("--model", type=Path, help="complete student folder that fastembed and sentence-transformers open")
    one.add_argument("--rounds", type=positive, default=3, help="rounds; the best one counts")
    one.add_argument("--seconds", type=float, default=10.0, help="seconds of each measurement")
    one.set_defaults(run=_compare)
    two = commands.add_parser("soak", help="a long load while the index is updated")
    two.add_argument("--seconds", type=float, default=600.0, help="seconds of the load")
    two.add_argument("--share", type=float, default=0.8, help="share of the measured capacity")
    two.add_argument("--update-every", type=float, default=10.0, help="seconds between updates; 0 for none")
    two.set_defaults(run=_soak)
    for command in (one, two):
        command.add_argument("index", type=Path, help="an index folder with a student inside")
        command.add_argument("--queries", type=Path, help="file with one query a line  [default: the quickstart's]")
        command.add_argument("-k", type=positive, default=10, help="hits per query")
        command.add_argument("--json", action="store_true", help="print JSON with the machine")
    return parser


if __name__ == "__main__":
    main()
