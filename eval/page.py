"""``python -m eval.page RESULT.json... --out page.html``: show results of ``evaluate --json`` on one HTML page."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from eval.merge_reports import merge_reports
from leafkit.command import exit_on_error
from leafkit.errors import InputError
from leafkit.evaluation.page.build import check_page, page_of_sections
from leafkit.evaluation.report import Report
from leafkit.files.atomic import write_file


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page; an error of leafkit becomes one message and exit code 1."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.page", description="Show results of leafkit evaluate --json on one HTML page."
    )
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULT.json", help="files of leafkit evaluate --json")
    parser.add_argument("--out", required=True, type=Path, metavar="PAGE.html", help="the file to write or replace")
    options = parser.parse_args(arguments)
    with exit_on_error():
        check_page(options.out)
        write_file(options.out, page_of_sections(merge_reports([_read(path) for path in options.results])))


def _read(path: Path) -> Report:
    try:
        return Report.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}. Give a result file of leafkit evaluate --json.") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


if __name__ == "__main__":
    main()
