"""``python -m eval.experiments TABLE.toml --out RESULT.json``: run a table and print what came out."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.bench.machine import describe_machine, load
from eval.experiments.report import NOTE, command, differences, summaries, table
from eval.experiments.run import Result, Runner
from eval.experiments.table import BASE, Table, read_table
from leafkit.command import command_line, exit_on_error
from leafkit.files.atomic import write_json
from leafkit.files.digest import sha256_file
from leafkit.vectors.store import default_cache


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for; an error of leafkit becomes one message and exit code 1."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    logging.getLogger("leafkit").setLevel(logging.INFO)
    options = _parser().parse_args(arguments)
    with exit_on_error():
        _run(options)


def _run(options: argparse.Namespace) -> None:
    asked = read_table(options.table, _given(options))
    work = options.work or options.out.with_suffix(".work")
    runner = Runner(table=asked, work=work, cache=options.cache or default_cache())
    before = load()
    results = runner.run(options.only)
    report = _report(options.table, asked, runner, results)
    write_json(options.out, report | {"load_before": before, "load_after": load()})
    commands = "\n".join(one["command"] for one in report["variants"].values())
    sys.stdout.write(f"{table(results, asked.measure.modes)}\n\n```\n{commands}\n```\n")


def _given(options: argparse.Namespace) -> dict[str, Any]:
    given = {"teacher": options.teacher, "files": options.texts, "valid": options.valid, "seeds": options.seeds}
    if options.data_root:
        # Read twice: what lies below the root is named in the table.
        named = read_table(options.table).measure.data
        given["data"] = [str(options.data_root / name) for name in named]
    return given


def _report(path: Path, asked: Table, runner: Runner, results: dict[str, list[Result]]) -> dict[str, Any]:
    run = [variant for variant in asked.variants if variant.name in results]
    machine = describe_machine()
    machine["command"] = command_line()
    return {
        **machine,
        "table": {"file": path.name, "sha256": sha256_file(path)},
        "seeds": list(asked.seeds),
        "note": NOTE,
        "data": [
            {
                "name": collection.name,
                "split": collection.split,
                "sha256": collection.sha256,
                "queries": len(collection.queries),
                "documents": len(collection.documents),
            }
            for collection in runner.bench.collections
        ],
        "variants": {
            variant.name: {
                "changes": variant.changes,
                "kind": variant.kind,
                "student": variant.student,
                "space": runner.teacher(variant).space.to_json(),
                "texts": runner.texts(variant).facts,
                "command": command(variant, runner.texts(variant), results[variant.name][0]),
                "figures": {name: dataclasses.asdict(one) for name, one in summaries(results[variant.name]).items()},
                "against base": {
                    name: dataclasses.asdict(one)
                    for name, one in differences(results[variant.name], results[BASE]).items()
                    if variant.name != BASE
                },
                "runs": results[variant.name],
            }
            for variant in run
        },
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.experiments", description=__doc__)
    parser.add_argument("table", type=Path, help="a TOML file: see eval/experiments")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--work", type=Path, help="results so far and unfinished students  [default: OUT.work]")
    parser.add_argument("--cache", type=Path, help="folder of teacher vectors already computed")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these variants, and the base")
    parser.add_argument("--teacher", help="instead of the table's")
    parser.add_argument("--texts", nargs="+", help="files of texts, instead of the table's")
    parser.add_argument("--valid", nargs="+", help="files of held-out texts, instead of the table's")
    parser.add_argument("--data-root", type=Path, help="the folder that holds the table's BEIR folders")
    parser.add_argument("--seeds", nargs="+", type=int, help="instead of the table's")
    return parser


if __name__ == "__main__":
    main()
