"""``python -m eval.mechanism NAME...``: measure the mechanisms of methods, and write their results and the page."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence

from eval.arguments import positive
from eval.bench.machine import describe_machine, load
from eval.mechanism.lab import Lab
from eval.mechanism.page import PAGE, page, read_results
from eval.mechanism.run import RESULTS, measure, mechanism, names
from leafkit.command import exit_on_error
from leafkit.files.atomic import write_file, write_json


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error of leafkit becomes one message and exit code 1."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    options = _parser().parse_args(arguments)
    with exit_on_error():
        for name in options.names or names():
            mechanism(name)  # An unknown name is refused before anything is measured.
        lab = Lab()
        for name in options.names or names():
            result = _measured(name, lab, options.seeds)
            sys.stdout.write(f"{json.dumps(result) if options.json else _line(result)}\n")
            sys.stdout.flush()
        write_file(PAGE, page(read_results()))


def _measured(name: str, lab: Lab, seeds: int) -> dict[str, object]:
    """Measure ``name``, write its result file and return the result."""
    before = load()
    result = measure(name, lab, range(seeds))
    command = f"python -m eval.mechanism {name} --seeds {seeds}"
    machine = describe_machine() | {"command": command, "load_before": before, "load_after": load()}
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_json(RESULTS / f"{name}.json", result | machine)
    return result | machine


def _line(result: dict[str, object]) -> str:
    difference = result["difference"]
    if not isinstance(difference, dict):
        raise TypeError(f"got {type(difference).__name__} as difference; expected a dict")
    return (
        f"{result['method']}: {difference['verdict']}, {difference['mean']:+.4f} "
        f"[{difference['low']:+.4f}, {difference['high']:+.4f}], {result['seconds']} s"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.mechanism", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="methods to measure  [default: all]")
    parser.add_argument("--seeds", type=positive, default=5, help="number of seeds  [default: 5]")
    parser.add_argument("--json", action="store_true", help="print each result as one line of JSON")
    return parser


if __name__ == "__main__":
    main()
