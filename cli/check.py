"""leafkit check: open a student in every runtime and compare its vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leafkit.cli.options import Json, with_options
from leafkit.cli.printing import say, say_json
from leafkit.errors import ExportError
from leafkit.runtimes.options import CheckOptions

if TYPE_CHECKING:
    from leafkit.runtimes.check import RuntimeCheck


@with_options(CheckOptions)
def check(
    student: Annotated[
        Path, typer.Argument(help="The student folder, or the name of a student that ships.", show_default=False)
    ],
    as_json: Json = False,
    **options: Any,
) -> None:
    """Open a student in every runtime that is here, and compare its vectors with those recorded at its export.

    Each runtime encodes the student's golden texts, with its prompts. The table shows the least cosine. The exit code
    is 1 if a runtime gives other vectors or fails. A runtime that is not installed is skipped.

    \b
    leafkit check my-student
    leafkit check my-student --url http://localhost:8080 --node-modules web/node_modules
    """
    from leafkit.runtimes.check import check_student

    rows = check_student(student, **options)
    if as_json:
        say_json([row.to_json() for row in rows], indent=1)
    else:
        _print(rows)
    wrong = [row for row in rows if row.is_wrong]
    if wrong:
        raise ExportError(
            f"{len(wrong)} of {len(rows)} runtimes do not give the vectors of {student}: "
            f"{', '.join(f'{row.runtime} {row.file}'.strip() for row in wrong)}."
        )


def _print(rows: list[RuntimeCheck]) -> None:
    head = ("runtime", "version", "file", "prompts", "least cosine", "result")
    table = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(head) - 1)]
    for line in table:
        say("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths)), line[-1]]))


def _cells(row: RuntimeCheck) -> tuple[str, ...]:
    cosine = "" if row.least_cosine is None else f"{row.least_cosine:.5f}"
    wanted = f" (expected at least {row.bound})" if row.result == "disagrees" else ""
    note = f": {' '.join(row.note.split())}" if row.note else ""
    return row.runtime, row.version, row.file, row.prompt, cosine, f"{row.result}{wanted}{note}"
