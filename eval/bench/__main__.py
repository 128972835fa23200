"""``python -m eval.bench``: measure leafkit against sentence-transformers and print the figures."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from eval.arguments import positive
from eval.bench import encode, live, memory, peak, query, start, train, workload
from eval.bench.figure import Figure, table
from eval.bench.machine import describe_machine, load
from eval.bench.side import Side
from leafkit.command import exit_on_error
from leafkit.errors import OptionError

ALL = ("encode", "query", "start", "memory", "train", "peak", "live")
NEEDS_STUDENTS = {"query", "start", "memory"}
BUSY = 0.8


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error of leafkit becomes one message and exit code 1."""
    options = _parser().parse_args(arguments)
    with exit_on_error():
        report = run(options)
    sys.stdout.write(
        (json.dumps(report, indent=1, default=Figure.to_json) if options.json else report_text(report)) + "\n"
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return the machine, its load before and after, the texts, and the figures."""
    machine, load_before, chosen = describe_machine(), load(), options.only.split(",")
    if unknown := set(chosen) - set(ALL):
        raise OptionError(f"unknown measurement {', '.join(sorted(unknown))}; expected one or more of {','.join(ALL)}.")
    with ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leafkit-bench-")))
        shared = workload.collect(
            Path(work),
            options.teacher,
            options.data,
            options.queries or [f"query:{_queries_of(Path(options.data))}"],
            documents=options.documents,
            students=options.students,
        )
        parameters = _prepare(shared) if NEEDS_STUDENTS & {*chosen} else []
        figures = []
        for name in chosen:
            figures += _measurements(shared, parameters, options)[name]()
            # A run takes many minutes. Show the figures so far in case it is stopped.
            sys.stderr.write(f"so far:\n{table(figures)}\n\n")
    return {
        "machine": machine,
        "load_before": load_before,
        "load_after": load(),
        "rounds": options.rounds,
        "texts": {
            "documents": shared.documents,
            "distinct documents": shared.distinct,
            "distinct queries": shared.queries,
            "teacher": options.teacher,
            "data": options.data,
            "queries": options.queries,
        },
        "figures": figures,
    }


def report_text(report: dict[str, Any]) -> str:
    """Return the report as text."""
    machine, texts = report["machine"], report["texts"]
    versions = " ".join(f"{name} {version}" for name, version in machine["packages"].items())
    busy = " - busy, so read the ratios, not the times" if report["load_before"][0] > BUSY else ""
    return "\n".join(
        [
            table(report["figures"]),
            "",
            f"machine: {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
            f"{machine['system']}",
            f"load average before {report['load_before']}, after {report['load_after']}{busy}",
            f"texts: {texts['documents']} documents, {texts['distinct documents']} of them distinct; "
            f"{texts['distinct queries']} distinct queries; teacher {texts['teacher']}",
            f"medians (lowest to highest) of {report['rounds']} rounds, the sides taking turns",
            f"leafkit {machine['leafkit']} at {machine['commit']}, python {machine['python']}, {versions}",
        ]
    )


def _measurements(
    shared: workload.Workload, parameters: Sequence[int], options: argparse.Namespace
) -> dict[str, Callable[[], list[Figure]]]:
    rounds, queries = options.rounds, options.query_count
    return {
        "encode": lambda: encode.measure(shared, rounds=rounds, texts=min(options.texts, shared.documents)),
        "query": lambda: query.measure(shared, rounds=rounds, queries=queries, parameters=parameters),
        "start": lambda: start.measure(shared, rounds=rounds),
        "memory": lambda: memory.measure(shared, rounds=rounds, queries=queries, parameters=parameters),
        "train": lambda: train.measure(shared, rounds=rounds, steps=options.steps),
        "peak": lambda: peak.measure(
            shared, rounds=rounds, steps=options.steps, batch_size=options.batch_size, device=options.device
        ),
        "live": lambda: live.measure(shared, rounds=rounds),
    }


def _prepare(shared: workload.Workload) -> list[int]:
    arguments = {
        "work": str(shared.work),
        "teacher": shared.teacher,
        "students": shared.students,
        "documents": str(shared.documents_file),
        "queries": str(shared.queries_file),
    }
    with Side("eval.bench.workload:prepare", arguments) as side:
        return side.facts["parameters"]


def _queries_of(data: Path) -> Path:
    found = sorted(data.glob("queries.jsonl*")) if data.is_dir() else []
    if not found:
        raise OptionError(f"{data} has no queries.jsonl. Add real queries with --queries query:FILE.")
    return found[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.bench", description=__doc__)
    parser.add_argument("--teacher", required=True, help="a sentence-transformers folder, hub id or package:NAME")
    parser.add_argument("--data", required=True, help="documents: a BEIR folder, or any source of leafkit.read_texts")
    parser.add_argument("--queries", nargs="+", help="real queries  [default: those of the BEIR folder]")
    parser.add_argument("--only", default=",".join(ALL), help=f"one or more of {','.join(ALL)}")
    parser.add_argument("--rounds", type=positive, default=3, help="rounds, in which each side has a turn")
    parser.add_argument("--documents", type=positive, default=10_000, help="documents in the index")
    parser.add_argument("--texts", type=positive, default=512, help="documents to encode in each round")
    parser.add_argument("--query-count", type=positive, default=200, help="queries in each round")
    parser.add_argument("--steps", type=positive, default=60, help="training steps in each round")
    parser.add_argument(
        "--device", default="cpu", help="device of the measurement peak: cpu or cuda; all others use the CPU"
    )
    parser.add_argument("--batch-size", type=positive, default=train.BATCH, help="batch size of the measurement peak")
    students = "students as leafkit distill takes them; the first is the main one"
    parser.add_argument("--students", nargs="+", default=["teacher:layers=6", "teacher:layers=3"], help=students)
    parser.add_argument("--work", help="folder for students, indexes and vectors  [default: a temporary folder]")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    main()
