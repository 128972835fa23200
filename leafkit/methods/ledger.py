"""The ledger: a row for each method with its verdicts, read from the result files of the screen (``eval/screen``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leafkit.errors import DamageError
from leafkit.methods.registry import method_class, method_folders

VERDICTS = Path(__file__).resolve().parent / "verdicts"
"""The folder of result files, NAME.json for each measured method; it is installed with leafkit."""

BASELINES = VERDICTS / "baselines.json"
"""The results of the baselines and control arms, which are no methods of their own."""

STUDENTS = {"picked": "three layers of the teacher", "table": "token table", "searched": "searched transformer"}
"""The kinds of students that every method is measured with, and what they are in words."""

COLUMNS = ("student", "verdict", "difference", "figure", "compared with")
"""The titles of the columns of `LedgerRow.lines`."""

SCHEMA = 2
NOT_MEASURED, WATCHES, BASELINE = "not measured", "watches", "baseline"
_LEAF = "leaf"


def format_difference(difference: Mapping[str, float]) -> str:
    """Return a difference from a result file as text: the mean and its 95 % interval."""
    return f"{difference['mean']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured for one kind of student: ``row`` is its part of a result file."""

    row: Mapping[str, Any]

    @property
    def student(self) -> str:
        """The kind of student in words."""
        return STUDENTS[self.row["student"]["kind"]]

    @property
    def verdict(self) -> str:
        """``helps``, ``harms``, ``no difference`` or ``unresolved``."""
        return str(self.row["verdict"])

    @property
    def figure(self) -> str:
        """The figure that the verdict is about."""
        return str(self.row["figure"])

    @property
    def compared_with(self) -> str:
        """What the method was compared with, in words."""
        return str(self.row["compared_with"])

    @property
    def dose(self) -> str:
        """The dose, such as ``pull 0.3``, and the other student that it was chosen on; empty without doses."""
        dose = self.row.get("dose")
        if not dose:
            return ""
        of = dose.get("chosen_on", self.row["student"]["kind"])
        other = "" if of == self.row["student"]["kind"] else f" (best for {STUDENTS[of]})"
        return f"{str(dose['field']).partition(',')[0]} {dose['chosen']:g}{other}"

    @property
    def difference(self) -> str:
        """The difference from the baseline with its interval."""
        return format_difference(self.row["difference"])

    @property
    def summary(self) -> str:
        """One sentence: student, verdict, difference, figure, seeds, baseline and corrected p-value."""
        return (
            f"{self.student}: {self.verdict}, {self.difference} {self.figure} over {len(self.row['seeds'])} seeds, "
            f"compared with {self.compared_with} (p = {self.row['difference']['holm']:.2g} after correction for "
            f"{self.row['difference']['family']} rows)"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures of the verdict without the details of the result file."""
        names = ("figure", "verdict", "baseline", "compared_with", "difference", "methods", "seeds", "worth", "seconds")
        return {"student": self.student, **{name: self.row.get(name) for name in names}, "dose": self.dose}


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """One method with what was measured, by kind of student; ``command`` repeats the measurement (empty without)."""

    name: str
    folder: str
    paper: str
    needs: tuple[str, ...]
    measured: Mapping[str, Measured]
    command: str

    @property
    def verdict(self) -> str:
        """The verdicts of all students, one word if they agree.

        ``watches`` for a probe, which changes nothing; ``baseline`` for LEAF; ``not measured`` without a result.
        """
        if self.name == _LEAF:
            return BASELINE
        if self.folder == "probes":
            return WATCHES
        verdicts = [one.verdict for one in self.measured.values()]
        if len(set(verdicts)) < 2:
            return verdicts[0] if verdicts else NOT_MEASURED
        return ", ".join(f"{one.verdict} ({one.student})" for one in self.measured.values())

    @property
    def summary(self) -> str:
        """A sentence for each kind of student, or why there is no difference to measure."""
        if self.folder == "probes":
            return "watches the training and changes nothing, so there is no difference to measure"
        if not self.measured:
            return self.verdict
        return "; ".join(one.summary for one in self.measured.values())

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """A line of a table with the columns `COLUMNS` for each kind of student, or one without a student."""
        measured = self.measured.values()
        lines = [(one.student, one.verdict, one.difference, one.figure, one.compared_with) for one in measured]
        return lines or [("", self.verdict, "", "", "")]

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON: its facts and figures without the details of the result file."""
        return {
            "name": self.name,
            "folder": self.folder,
            "paper": self.paper,
            "needs": list(self.needs),
            "verdict": self.verdict,
            "summary": self.summary,
            "students": {student: one.to_json() for student, one in self.measured.items()},
            "command": self.command or None,
        }


def read_ledger(results: Path | None = None) -> list[LedgerRow]:
    """Return a row for each installed method, in the order of the registry.

    ``results`` is the folder of result files, `VERDICTS` by default. Raises `DamageError` for an unreadable file.
    """
    return [ledger_row(name, results) for name in method_folders()]


def ledger_row(name: str, results: Path | None = None) -> LedgerRow:
    """Return the row of the method ``name``; raise `OptionError` with the nearest name if there is none."""
    cls = method_class(name)
    result = read_result((results or VERDICTS) / f"{name}.json")
    rows = {student: row for student, row in (result or {}).get("rows", {}).items() if "verdict" in row}
    return LedgerRow(
        name=name,
        folder=method_folders()[name],
        paper=cls.paper,
        needs=tuple(sorted(cls().needs)),
        measured={student: Measured(row=row) for student, row in rows.items()},
        command=str((result or {}).get("command", "")) if rows else "",
    )


def read_result(file: Path) -> dict[str, Any] | None:
    """Return the content of a result file, or None if there is no file.

    Raises `DamageError` for a file that is not a result of this version about the method that it is named after.
    """
    if not file.is_file():
        return None
    try:
        result = json.loads(file.read_bytes())
        if result["schema"] != SCHEMA:
            raise ValueError(f"schema {result['schema']!r}; expected {SCHEMA}")
        if result["system"] != file.stem:
            raise ValueError(f"the file describes {result['system']!r}")
        for row in result["rows"].values():
            _check_row(row)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(
            f"{file} is not a result of the screen ({error}). Measure {file.stem} again or delete the file."
        ) from error
    return result


def _check_row(row: Mapping[str, Any]) -> None:
    """Raise an error of Python if ``row`` lacks something that the ledger shows; LEAF's own rows have no verdict."""
    if "verdict" not in row:
        return
    Measured(row=row).summary  # noqa: B018 - formats every value
