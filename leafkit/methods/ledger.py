"""The verdict on each distillation system: a row for each, from the result file that ``leafkit compare`` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leafkit.errors import DamageError
from leafkit.methods.registry import method_class, method_folders

VERDICTS = Path(__file__).resolve().parent / "verdicts"
"""The result file of each system, NAME.json; they travel with an installed leafkit, as far as there are any."""

NOT_MEASURED, MEASURED, BASELINE = "not measured", "measured", "baseline"
_LEAF = "leaf"


def format_difference(difference: Mapping[str, float]) -> str:
    """A difference of a result file as text: the mean and its 95 % interval."""
    return f"{difference['mean']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]"


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
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
        return format_difference(apart) if apart else ""

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


def read_ledger(results: Path | None = None) -> list[LedgerRow]:
    """A row for every system that is installed, in the registry's order, by the files in ``results`` (or `VERDICTS`).

    Raises `DamageError` for a result file that cannot be read.
    """
    return [ledger_row(name, results) for name in method_folders()]


def ledger_row(name: str, results: Path | None = None) -> LedgerRow:
    """The row of the system ``name``; raises `OptionError` with the nearest name where there is none."""
    kind = method_class(name)
    return LedgerRow(
        name=name,
        folder=method_folders()[name],
        paper=kind.paper,
        needs=tuple(sorted(kind.needs)),
        result=_result((results or VERDICTS) / f"{name}.json"),
    )


def markdown_table(rows: Sequence[LedgerRow]) -> str:
    """The rows as a Markdown table."""
    cells = [["system", "folder", "paper", "needs", "task", "baseline", "difference", "verdict"]]
    cells.append(["---"] * len(cells[0]))
    for one in rows:
        found = one.result or {}
        said = [str(found.get("task", "")), str(found.get("baseline", "")), one.difference, one.verdict]
        cells.append([one.name, one.folder, one.paper, ", ".join(one.needs), *said])
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


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
