"""``python -m eval.bench``: measure leafkit beside sentence-transformers and print what came out."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from eval.bench import encode, material, memory, peak, query, start, train
from eval.bench.child import Side
from eval.bench.figure import Figure, table
from eval.bench.machine import describe_machine, load
from leafkit.command import exit_on_error
from leafkit.errors import OptionError

ALL = ("encode", "query", "start", "memory", "train", "peak")
NEEDS_STUDENTS = {"query", "start", "memory"}
BUSY = 0.8


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for; an error of leafkit becomes one message and exit code 1."""
    options = _parser().parse_args(arguments)
    with exit_on_error():
        report = run(options)
    sys.stdout.write(
        (json.dumps(report, indent=1, default=Figure.to_json) if options.json else report_text(report)) + "\n"
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The machine, its load before and after, what was measured on, and the figures."""
    machine, before, chosen = describe_machine(), load(), options.only.split(",")
    if unknown := set(chosen) - set(ALL):
        raise OptionError(f"unknown measurement {', '.join(sorted(unknown))}; choose from {','.join(ALL)}")
    with ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leafkit-bench-")))
        found = material.collect(
            Path(work),
            options.teacher,
            options.data,
            options.queries or [f"query:{_queries_of(Path(options.data))}"],
            documents=options.documents,
            students=options.students,
        )
        parameters = _prepare(found) if NEEDS_STUDENTS & {*chosen} else []
        figures = []
        for name in chosen:
            figures += _measurements(found, parameters, options)[name]()
            # A run takes many minutes: what is known is shown, should the rest be stopped.
            sys.stderr.write(f"so far:\n{table(figures)}\n\n")
    return {
        "machine": machine,
        "load_before": before,
        "load_after": load(),
        "rounds": options.rounds,
        "texts": {
            "documents": found.documents,
            "distinct documents": found.distinct,
            "distinct queries": found.queries,
            "teacher": options.teacher,
            "data": options.data,
            "queries": options.queries,
        },
        "figures": figures,
    }


def report_text(report: dict[str, Any]) -> str:
    """The report for people."""
    machine, texts = report["machine"], report["texts"]
    versions = " ".join(f"{name} {version}" for name, version in machine["packages"].items())
    busy = " - busy, so read the ratios and not the times" if report["load_before"][0] > BUSY else ""
    return "\n".join(
        [
            table(report["figures"]),
            "",
            f"machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
            f"{machine['system']}",
            f"load average before {report['load_before']}, after {report['load_after']}{busy}",
            f"texts: {texts['documents']} documents, {texts['distinct documents']} of them distinct; "
            f"{texts['distinct queries']} distinct queries; teacher {texts['teacher']}",
            f"medians (lowest to highest) of {report['rounds']} rounds, the sides in turns",
            f"leafkit {machine['leafkit']} at {machine['commit']}, python {machine['python']}, {versions}",
        ]
    )


def _measurements(
    found: material.Material, parameters: Sequence[int], options: argparse.Namespace
) -> dict[str, Callable[[], list[Figure]]]:
    rounds, queries = options.rounds, options.query_count
    return {
        "encode": lambda: encode.measure(found, rounds=rounds, texts=min(options.texts, found.documents)),
        "query": lambda: query.measure(found, rounds=rounds, queries=queries, parameters=parameters),
        "start": lambda: start.measure(found, rounds=rounds),
        "memory": lambda: memory.measure(found, rounds=rounds, queries=queries, parameters=parameters),
        "train": lambda: train.measure(found, rounds=rounds, steps=options.steps),
        "peak": lambda: peak.measure(
            found, rounds=rounds, steps=options.steps, batch_size=options.batch_size, device=options.device
        ),
    }


def _prepare(found: material.Material) -> list[int]:
    arguments = {
        "work": str(found.work),
        "teacher": found.teacher,
        "students": found.students,
        "documents": str(found.documents_file),
        "queries": str(found.queries_file),
    }
    with Side("eval.bench.material:prepare", arguments) as side:
        return side.facts["parameters"]


def _queries_of(data: Path) -> Path:
    found = sorted(data.glob("queries.jsonl*")) if data.is_dir() else []
    if not found:
        raise OptionError(f"{data} brings no queries.jsonl; give real queries: --queries query:FILE")
    return found[0]


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number of 1 or more")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.bench", description=__doc__)
    parser.add_argument("--teacher", required=True, help="a sentence-transformers folder, hub id or package:NAME")
    parser.add_argument("--data", required=True, help="documents: a BEIR folder, or what leafkit.read_texts takes")
    parser.add_argument("--queries", nargs="+", help="real queries  [default: the BEIR folder's own]")
    parser.add_argument("--only", default=",".join(ALL), help=f"some of {','.join(ALL)}")
    parser.add_argument("--rounds", type=_positive, default=3, help="turns of each side")
    parser.add_argument("--documents", type=_positive, default=10_000, help="documents in the index")
    parser.add_argument("--texts", type=_positive, default=512, help="documents to encode in each round")
    parser.add_argument("--query-count", type=_positive, default=200, help="queries in each round")
    parser.add_argument("--steps", type=_positive, default=60, help="training steps in each round")
    parser.add_argument("--device", default="cpu", help="of peak: cpu or cuda; all else is measured on the CPU")
    parser.add_argument("--batch-size", type=_positive, default=train.BATCH, help="texts in a step of peak")
    students = "as leafkit distill takes them; the first is the main one"
    parser.add_argument("--students", nargs="+", default=["teacher:layers=6", "teacher:layers=3"], help=students)
    parser.add_argument("--work", help="keep students, indexes and vectors here  [default: a temporary folder]")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    main()
