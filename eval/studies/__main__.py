"""``python -m eval.studies TABLE.toml --out RESULT.json``: run a table of variants and print the result."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.bench.machine import describe_machine, load
from eval.studies.report import NOTE, command, differences, summaries, table
from eval.studies.study import TableStudy
from eval.studies.table import BASE, StudyTable, Variant, read_table
from leafkit.command import exit_on_error
from leafkit.evaluation.compare.study import Run
from leafkit.files.atomic import write_json
from leafkit.files.digest import sha256_file
from leafkit.vectors.store import default_cache


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error of leafkit becomes one message and exit code 1."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    logging.getLogger("leafkit").setLevel(logging.INFO)
    options = _parser().parse_args(arguments)
    with exit_on_error():
        _run(options)


def _run(options: argparse.Namespace) -> None:
    study_table = read_table(options.table, _overrides(options))
    work = options.work or options.out.with_suffix(".work")
    study = TableStudy.of(study_table, work=work, cache=options.cache or default_cache())
    load_before = load()
    results = study.run(study.chosen(options.only))
    report = _report(options.table, study_table, study, results)
    write_json(options.out, report | {"load_before": load_before, "load_after": load()})
    commands = "\n".join(variant["command"] for variant in report["variants"].values())
    sys.stdout.write(f"{table(results, study_table.measure.modes)}\n\n```\n{commands}\n```\n")


def _overrides(options: argparse.Namespace) -> dict[str, Any]:
    overrides = {"teacher": options.teacher, "files": options.texts, "valid": options.valid, "seeds": options.seeds}
    if options.data_root:
        # The table is read twice: the names of the folders below the root are in the table.
        names = read_table(options.table).measure.data
        overrides["data"] = [str(options.data_root / name) for name in names]
    return overrides


def _report(path: Path, study_table: StudyTable, study: TableStudy, results: dict[str, list[Run]]) -> dict[str, Any]:
    return {
        **describe_machine(),
        "table": {"file": path.name, "sha256": sha256_file(path)},
        "seeds": list(study_table.seeds),
        "note": NOTE,
        "data": [
            {
                "name": collection.name,
                "split": collection.split,
                "sha256": collection.sha256,
                "queries": len(collection.queries),
                "documents": len(collection.documents),
            }
            for collection in study.benchmark.collections
        ],
        "variants": {
            variant.name: _variant_report(study, variant, results[variant.name], results[BASE])
            for variant in study_table.variants
            if variant.name in results
        },
    }


def _variant_report(study: TableStudy, variant: Variant, runs: list[Run], base: list[Run]) -> dict[str, Any]:
    texts = study.texts(variant)
    compared = {} if variant.name == BASE else differences(runs, base)
    return {
        "changes": variant.changes,
        "kind": variant.kind,
        "student": variant.student,
        "space": study.teacher(variant).space.to_json(),
        "texts": texts.facts,
        "command": command(variant, texts, runs[0]),
        "figures": {name: dataclasses.asdict(figure) for name, figure in summaries(runs).items()},
        "against base": {name: dataclasses.asdict(difference) for name, difference in compared.items()},
        "runs": runs,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.studies", description=__doc__)
    parser.add_argument("table", type=Path, help="a TOML file like those in eval/studies")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument(
        "--work", type=Path, help="folder of finished runs and unfinished students  [default: OUT.work]"
    )
    parser.add_argument("--cache", type=Path, help="folder of cached teacher vectors  [default: leafkit's own]")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="run only these variants and the base")
    parser.add_argument("--teacher", help="override the teacher of the table")
    parser.add_argument("--texts", nargs="+", help="override the files of training texts")
    parser.add_argument("--valid", nargs="+", help="override the files of held-out texts")
    parser.add_argument("--data-root", type=Path, help="the folder that contains the BEIR folders of the table")
    parser.add_argument("--seeds", nargs="+", type=int, help="override the seeds of the table")
    return parser


if __name__ == "__main__":
    main()
