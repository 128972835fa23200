"""What each system is worth: a row for each, from its own file and the result that ``leafkit compare`` wrote for it.

``python -m leafkit.eval.ledger`` writes the table beside the results, eval/results/methods/README.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leafkit.atomic import write_file
from leafkit.errors import DamageError
from leafkit.eval.compare.statistics import shown
from leafkit.kd.registry import find, names

RESULTS = Path(__file__).resolve().parent / "results" / "methods"
"""The result file of each system, NAME.json; they travel with an installed leafkit, as far as there are any."""

NOT_MEASURED, MEASURED, BASELINE = "not measured", "measured", "baseline"
_LEAF = "leaf"

_HEAD = """# What each system is worth

Written by `python -m leafkit.eval.ledger` from the files in this folder; do not edit it.

Each system was trained once per seed next to its baseline: plain LEAF with the same texts, steps and teacher calls,
its texts or its student drawn at random where the system chooses them. Both students were measured on the task as
they were after the last step. The difference is the mean over seeds, with the middle 95 % of a paired bootstrap over
seeds and items; `beats` lies above 0, `loses` below it, `ties` around it. A row that loses is a result. The setting is
small (seconds of training on a CPU), and the intervals are not corrected for the number of rows. What is measured by
classes was told the labels of the training texts, which LEAF does not know. Probes watch and train nothing.
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system. ``folder`` is the question that it answers; ``result`` is its result file, None where there is none.

    ``verdict`` is beats, loses or ties; measured for a probe; baseline for LEAF; not measured without a result.
    """

    name: str
    folder: str
    paper: str
    needs: tuple[str, ...]
    result: dict[str, Any] | None

    @property
    def verdict(self) -> str:
        """What came out."""
        if self.name == _LEAF:
            return BASELINE
        if self.result is None:
            return NOT_MEASURED
        return MEASURED if self.folder == "probes" else str(self.result["verdict"])

    @property
    def difference(self) -> str:
        """The difference to the baseline with its interval, empty where there is none."""
        apart = (self.result or {}).get("difference")
        return shown(apart) if apart else ""

    def to_json(self) -> dict[str, Any]:
        """The row with its figures, without the rest of its result file."""
        found = self.result or {}
        return {
            "name": self.name,
            "folder": self.folder,
            "paper": self.paper,
            "needs": list(self.needs),
            **{name: found.get(name) for name in ("task", "metric", "baseline", "difference", "seeds", "command")},
            "verdict": self.verdict,
        }


def ledger(results: Path | None = None) -> list[Row]:
    """A row for every system that is installed, in the registry's order, by the files in ``results`` (or `RESULTS`).

    Raises `DamageError` for a result file that cannot be read.
    """
    return [row(name, results) for name in names()]


def row(name: str, results: Path | None = None) -> Row:
    """The row of the system ``name``; raises `OptionError` with the nearest name where there is none."""
    kind = find(name)
    return Row(
        name=name,
        folder=names()[name],
        paper=kind.paper,
        needs=tuple(sorted(kind.needs)),
        result=_result((results or RESULTS) / f"{name}.json"),
    )


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    cells = [["system", "folder", "paper", "needs", "task", "baseline", "difference", "verdict"]]
    cells.append(["---"] * len(cells[0]))
    for one in rows:
        found = one.result or {}
        said = [str(found.get("task", "")), str(found.get("baseline", "")), one.difference, one.verdict]
        cells.append([one.name, one.folder, one.paper, ", ".join(one.needs), *said])
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def readme(rows: Sequence[Row]) -> str:
    """The page of the table: how to read it, its rows, and the command of every row that was measured."""
    commands = [str(one.result["command"]) for one in rows if one.result and "command" in one.result]
    again = ["Each row again, from the root of the checkout, followed by `python -m leafkit.eval.ledger`:", "", "```"]
    again += [f"{command} --out eval/results/methods" for command in commands] + ["```"]
    return "\n".join([_HEAD, table(rows), *(["", *again] if commands else []), ""])


def main() -> None:
    """Write the page, and say where."""
    page = RESULTS / "README.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    write_file(page, readme(ledger()))
    sys.stdout.write(f"{page}\n")


def _result(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_bytes())
        if not isinstance(found["verdict"], str) or found["system"] != file.stem:
            raise ValueError(f"it is about {found['system']!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError(f"{file} is no result of leafkit compare ({error}); measure {file.stem} again") from error
    return found


if __name__ == "__main__":
    main()
