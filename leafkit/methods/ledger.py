"""The ledger: one row for each method with its verdict, read from the result files of ``leafkit compare``."""

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
"""What each baseline recipe trains, in words, by the name of the recipe."""

NOT_MEASURED, WATCHES, BASELINE = "not measured", "watches", "baseline"
_LEAF = "leaf"


def format_difference(difference: Mapping[str, float]) -> str:
    """Return a difference from a result file as text: the mean and its 95 % interval."""
    return f"{difference['mean']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]"


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """One method with its result.

    ``folder`` is the folder of the method, ``result`` the content of its result file (None if there is none), and
    ``compared_with`` says in words what the method was measured against (empty without a result).
    """

    name: str
    folder: str
    paper: str
    needs: tuple[str, ...]
    result: dict[str, Any] | None
    compared_with: str

    @property
    def verdict(self) -> str:
        """``beats``, ``loses`` or ``ties``; ``watches`` for a probe, ``baseline`` for LEAF, or ``not measured``."""
        if self.name == _LEAF:
            return BASELINE
        if self.result is None:
            return NOT_MEASURED
        return WATCHES if self.is_probe else str(self.result["verdict"])

    @property
    def difference(self) -> str:
        """The difference from the baseline with its interval; empty without a result and for a probe."""
        difference = (self.result or {}).get("difference")
        return format_difference(difference) if difference and not self.is_probe else ""

    @property
    def is_probe(self) -> bool:
        """Whether the method only watches a training, so that there is no difference to measure."""
        return self.folder == "probes"

    @property
    def measure(self) -> str:
        """What was measured: the metric and the task; empty without a difference."""
        result = self.result or {}
        return f"{result['metric']} ({result['task']})" if self.difference and result.get("task") else ""

    @property
    def summary(self) -> str:
        """One sentence: the verdict, the difference, the task, the seeds and what the method was compared with."""
        if self.is_probe and self.result is not None:
            return "watches the training and changes nothing, so there is no difference to measure"
        if not self.difference or self.result is None:
            return self.verdict
        task, metric, seeds = (self.result.get(name) for name in ("task", "metric", "seeds"))
        measured = f"{metric} ({task})" if task else metric
        return (
            f"{self.verdict}: {self.difference} {measured} over {len(seeds or ())} seeds, "
            f"compared with {self.compared_with} (recipe {self.result['baseline']})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON: its facts and figures without the details of the result file."""
        result = self.result or {}
        return {
            "name": self.name,
            "folder": self.folder,
            "paper": self.paper,
            "needs": list(self.needs),
            **{name: result.get(name) for name in ("task", "metric", "baseline", "seeds", "command")},
            "difference": None if self.is_probe else result.get("difference"),
            "verdict": self.verdict,
            "compared_with": self.compared_with or None,
            "summary": self.summary,
        }


def read_ledger(results: Path | None = None) -> list[LedgerRow]:
    """Return a row for each installed method, in the order of the registry.

    ``results`` is the folder of result files, `VERDICTS` by default. Raises `DamageError` for an unreadable file.
    """
    return [ledger_row(name, results) for name in method_folders()]


def ledger_row(name: str, results: Path | None = None) -> LedgerRow:
    """Return the row of the method ``name``; raise `OptionError` with the nearest name if there is none."""
    cls = method_class(name)
    result = _read_result((results or VERDICTS) / f"{name}.json")
    baseline = str((result or {}).get("baseline", ""))
    return LedgerRow(
        name=name,
        folder=method_folders()[name],
        paper=cls.paper,
        needs=tuple(sorted(cls().needs)),
        result=result,
        compared_with=json.loads(BASELINES.read_bytes()).get(baseline, baseline),
    )


def _read_result(file: Path) -> dict[str, Any] | None:
    """Return the content of a result file, or None if there is no file."""
    if not file.is_file():
        return None
    try:
        result = json.loads(file.read_bytes())
        if not isinstance(result["verdict"], str) or result["system"] != file.stem:
            raise ValueError(f"the file describes {result['system']!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError(
            f"{file} is not a result of leafkit compare ({error}). Measure {file.stem} again or delete the file."
        ) from error
    return result
