"""leafkit evaluate: how good a student is, alone and on the teacher's index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from leafkit.cli.options import Cache, Json, TeacherFlags, spread_options
from leafkit.errors import OptionError
from leafkit.files.atomic import write_file

# The options that take several values in a row.
_EXAMPLES = {
    "--data": "--data beir/scifact beir/nfcorpus",
    "--mteb": "--mteb stsb-en banking77",
    "--student": "--student my-student",
}


@spread_options
def evaluate(
    teacher_flags: TeacherFlags,
    data: Annotated[list[Path] | None, typer.Option(help="BEIR folders: corpus.jsonl, queries.jsonl, qrels/.")] = None,
    mteb: Annotated[list[str] | None, typer.Option(help="Names of MTEB tasks.")] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Read MTEB tasks from FOLDER/<task> instead of the hub.")
    ] = None,
    teacher: Annotated[str | None, typer.Option(help="The teacher: see leafkit distill --help.")] = None,
    student: Annotated[
        list[str] | None, typer.Option(help="Student folders; several are compared in one table.")
    ] = None,
    split: Annotated[str, typer.Option(help="Judgements to use: test or dev.")] = "test",
    dims: Annotated[str | None, typer.Option(help="Dimensions of the grid, e.g. 384,256,64.")] = None,
    precisions: Annotated[str | None, typer.Option(help="Precisions of the grid, e.g. float32,int8,binary.")] = None,
    modes: Annotated[
        str | None, typer.Option(help="Some of teacher, standard and asymmetric  [default: all that are possible]")
    ] = None,
    encoder: Annotated[
        str, typer.Option(help="What runs the student: torch, onnx or onnx-int8 (what ships in an index).")
    ] = "torch",
    bm25: Annotated[bool, typer.Option("--bm25", help="Add a row for BM25, a reference without vectors.")] = False,
    cross_check: Annotated[
        bool, typer.Option("--cross-check", help="Have BEIR search and score the same vectors as well.")
    ] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out documents that cannot be read.")] = False,
    documents: Annotated[
        int | None,
        typer.Option(help="Measure on so many documents of each folder: all judged ones and a fixed choice of others."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap intervals.")] = 0,
    report: Annotated[
        Path | None, typer.Option(help="Also write tables, plots and provenance to this .html file.")
    ] = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Measure a student: standard (it encodes both sides), asymmetric (queries only) and against its teacher.

    nDCG@10 and retention (mode / teacher) come with 95 % bootstrap intervals over queries.

    \b
    leafkit evaluate --data beir/scifact beir/nfcorpus --teacher BAAI/bge-small-en-v1.5 --student my-student
    leafkit evaluate --data beir/scifact --teacher T --student S --dims 384,128 --precisions float32,int8,binary
    leafkit evaluate --data beir/* --documents 10000 --teacher T --student S --report report.html
    leafkit evaluate --mteb stsb-en banking77 --data-root bench --student my-student
    """
    from leafkit.evaluation.evaluate import evaluate as run
    from leafkit.evaluation.page.build import check_page, page

    if report:
        check_page(report)
    found = run(
        data,
        teacher=teacher,
        student=student,
        mteb=mteb,
        data_root=data_root,
        split=split,
        dims=None if dims is None else [_whole(part) for part in dims.split(",")],
        precisions=None if precisions is None else precisions.split(","),
        modes=None if modes is None else modes.split(","),
        encoder=encoder,
        bm25=bm25,
        cross_check=cross_check,
        skip_bad=skip_bad,
        documents=documents,
        seed=seed,
        cache=cache,
        teacher_options=teacher_flags.chosen(),
    )
    typer.echo(json.dumps(found.to_json(), indent=1) if as_json else found.table())
    if report:
        write_file(report, page([found]))


def spread(arguments: Sequence[str]) -> list[str]:
    """``arguments`` in which ``evaluate --data A B`` reads ``evaluate --data A --data B``, as typer wants it.

    Also for ``--mteb`` and ``--student``; other commands are left as they are. Raises `OptionError` for one without a
    value, for which typer would take the option after it.
    """
    result: list[str] = []
    option = None
    for position, argument in enumerate(arguments):
        several = option if "evaluate" in arguments[:position] else None
        if argument.startswith("-"):
            if several and result[-1] == several:
                wanted = f"wanted one or more values, e.g. {_EXAMPLES[several]}"
                raise OptionError(f"{several} is followed by {argument}; {wanted}")
            option = argument if argument in _EXAMPLES else None
        elif several and result[-1] != several:
            result.append(several)
        result.append(argument)
    return result


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise OptionError(f"--dims wants whole numbers with commas between them, e.g. 384,128; got {text!r}") from error
