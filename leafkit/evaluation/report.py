"""The report of an evaluation: one row per data set, mode and grid cell, and the provenance of the figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leafkit.errors import InputError
from leafkit.evaluation.bootstrap import Interval
from leafkit.evaluation.learning_curve import CurvePoint
from leafkit.evaluation.provenance import Provenance
from leafkit.evaluation.result_rows import CollectionMeans, ResultRow
from leafkit.evaluation.result_tables import result_tables


@dataclass(frozen=True, kw_only=True)
class Report:
    """The rows of an evaluation, their means over collections, and their provenance.

    ``curves`` maps a student's name to the validations of its training.
    """

    rows: tuple[ResultRow, ...]
    provenance: Provenance
    means: tuple[CollectionMeans, ...] = ()
    curves: dict[str, tuple[CurvePoint, ...]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Report:
        """Return the report that `to_json` of this or an earlier version wrote; raise `InputError` for other JSON."""
        try:
            means = [
                CollectionMeans(collections=tuple(found["collections"]), rows=_read_rows(found["rows"]))
                for found in content.get("means", ())
            ]
            return cls(
                rows=_read_rows(content["rows"]),
                provenance=Provenance(**content["provenance"]),
                means=tuple(means),
                curves={
                    name: tuple(CurvePoint(**point) for point in curve)
                    for name, curve in content.get("curves", {}).items()
                },
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(
                f"invalid report ({error!r}); expected the JSON printed by `leafkit evaluate --json`. "
                "Run the evaluation again."
            ) from error

    def to_json(self) -> dict[str, Any]:
        """Return the report as a dict for `json.dumps`; metrics and retentions are fractions, not per cent.

        NaN (e.g. a correlation with a constant) becomes None, because JSON has no NaN.
        """
        content: dict[str, Any] = _without_nan(dataclasses.asdict(self))
        return content

    def table(self) -> str:
        """Return aligned plain text: one line per row, one column per metric, retentions in per cent.

        Rows with other metrics (e.g. classification after retrieval) start a new block with its own header. The means
        over collections are a block of their own.
        """
        parts = [self.rows, *(means.rows for means in self.means)]
        blocks = [aligned(lines) for rows in parts for lines in result_tables(rows)]
        return "\n\n".join(blocks) + "\n\n" + self._footer()

    def _footer(self) -> str:
        source = self.provenance
        space = f"space {source.space['id']}, " if source.space else ""
        commit = f" ({source.commit})" if source.commit else ""
        measured = [f"[95 % interval over queries, {source.resamples} resamples, seed {source.seed}]; "]
        shown = measured if any(row.interval for row in self.rows) else []
        return "".join(shown) + f"{space}leafkit {source.leafkit}{commit}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return ``lines`` of cells as text with aligned columns."""
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _read_rows(found: Sequence[Mapping[str, Any]]) -> tuple[ResultRow, ...]:
    return tuple(ResultRow(**{name: _read_value(name, value) for name, value in row.items()}) for row in found)


def _read_value(name: str, value: Any) -> Any:
    if name == "metrics":
        return {metric: math.nan if score is None else score for metric, score in value.items()}
    return Interval(**value) if name.endswith("interval") and value is not None else value
