"""``python -m eval.screen run``: make the missing runs of the screen; ``report``: write result files and pages."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from eval import DATA
from eval.ledger import main as table_of_methods
from eval.screen import more_steps
from eval.screen.log import LOG
from eval.screen.report import missing_arms, result_text, results
from eval.screen.stages import FULL, QUICK, Screen, Search, run_system
from eval.screen.study import ScreenStudy
from eval.screen.systems import LEAF, STUDENTS, read_systems
from eval.screen.texts import ScreenTexts
from eval.screen.which_method import PAGE, which_method
from leafkit.command import exit_on_error
from leafkit.errors import OptionError, nearest
from leafkit.files.atomic import write_file
from leafkit.methods import ledger
from leafkit.vectors.store import default_cache

TEACHER = "../shared/models/bge-small-en-v1.5"
TIERS = {"screen": "", "dose": "plain-60000"}
SEARCHES: dict[str, list[Search]] = {"full": [FULL], "quick": [QUICK], "borrowed": []}
STAGES = ("dose", "screen", "curve")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error of leafkit becomes one message and exit code 1."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    LOG.setLevel(logging.INFO)
    options = _parser().parse_args(arguments)
    with exit_on_error():
        screen = _screen(options)
        if options.action == "run":
            _run(screen, options)
        else:
            _report(screen, options)


def _run(screen: Screen, options: argparse.Namespace) -> None:
    names = options.only or list(screen.systems)
    for name in names:
        if name not in screen.systems:
            raise OptionError(f"the screen has no system {name!r}; {nearest(name, screen.systems)}.")
    for student in options.student or list(STUDENTS):
        for name in names:
            if student not in screen.systems[name].students:
                continue
            if "screen" in options.stage or "dose" in options.stage:
                run_system(screen, name, student, doses_only="screen" not in options.stage)
        if "curve" in options.stage and LEAF in names:
            screen.texts_curve(student)


def _report(screen: Screen, options: argparse.Namespace) -> None:
    """Write the result files and the pages, and print what is missing.

    The tier of more steps has result files and a page of its own.
    """
    students = options.student or list(STUDENTS)
    found = results(screen, students)
    if screen.larger:
        if not any(name != LEAF for name in found):
            raise OptionError("no run of this tier is finished. Make some with: python -m eval.screen run --tier dose")
        more_steps.FOLDER.mkdir(parents=True, exist_ok=True)
        for name, result in found.items():
            write_file(more_steps.FOLDER / f"{name}.json", result_text(result))
        write_file(more_steps.PAGE, more_steps.more_steps(found, screen.systems))
        return
    methods = {name: result for name, result in found.items() if name == LEAF or screen.systems[name].is_method}
    arms = {name: result for name, result in found.items() if name not in methods}
    for file in ledger.VERDICTS.glob("*.json"):
        # A method that has changed since its runs is not measured.
        if options.student is None and file != ledger.BASELINES and file.stem not in methods:
            file.unlink()
    for name, result in methods.items():
        write_file(ledger.VERDICTS / f"{name}.json", result_text(result))
    controls = {"schema": ledger.SCHEMA, "system": "baselines", "rows": {}, "arms": arms}
    write_file(ledger.BASELINES, result_text(controls))
    write_file(PAGE, which_method(screen.systems))
    table_of_methods()
    missing = missing_arms(screen, students)
    sys.stdout.write(f"{len(found)} systems written. Without complete runs: {', '.join(missing) or 'none'}.\n")


def _screen(options: argparse.Namespace) -> Screen:
    cache = options.cache or default_cache()
    work = options.work or cache / "screen"
    study = ScreenStudy(
        variants=[],
        seeds=[],
        work=work,
        cache=options.vectors or work / "vectors",
        texts=ScreenTexts(data=options.data, work=work / "texts"),
        teacher_name=options.teacher,
    )
    return Screen(
        study=study,
        systems=read_systems(),
        makes=options.action == "run",
        searches=SEARCHES[options.search] if options.action == "run" else [FULL, QUICK],
        larger=TIERS[options.tier],
    )


_SEARCH = "full: five doses on two seeds; quick: three on one; borrowed: take the dose of the token table"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.screen", description=__doc__)
    parser.add_argument("action", choices=("run", "report"))
    parser.add_argument("--student", nargs="+", choices=tuple(STUDENTS), help="kinds of students  [default: all]")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="systems of systems.toml  [default: all]")
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=["screen"], help="which runs to make")
    parser.add_argument("--tier", choices=TIERS, default="screen", help="dose: 60,000 plain texts instead of 6,000")
    parser.add_argument("--search", choices=SEARCHES, default="full", help=_SEARCH)
    parser.add_argument("--teacher", default=TEACHER, help=f"the teacher  [default: {TEACHER}]")
    parser.add_argument("--data", type=Path, default=Path(DATA), help=f"folder of train/ and bench/  [default: {DATA}]")
    parser.add_argument("--work", type=Path, help="folder of finished runs  [default: the folder screen in the cache]")
    parser.add_argument("--vectors", type=Path, help="folder of cached teacher vectors  [default: WORK/vectors]")
    parser.add_argument("--cache", type=Path, help="leafkit's cache  [default: its own]")
    return parser


if __name__ == "__main__":
    main()
