"""What an evaluation found: one row per data set, mode and grid cell, and where the figures come from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leafkit.errors import InputError
from leafkit.evaluation.bootstrap import Interval
from leafkit.evaluation.learning_curve import CurvePoint
from leafkit.evaluation.result_rows import CollectionMeans, ResultRow
from leafkit.evaluation.result_tables import result_tables


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What is needed to get the same figures again."""

    command: str
    leafkit: str
    commit: str | None
    space: dict[str, Any] | None
    students: dict[str, str]
    encoder: str
    data: list[dict[str, str]]
    seed: int
    resamples: int
    packages: dict[str, str]
    libraries: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Report:
    """The rows of an evaluation, their means over several collections, and where they come from.

    ``curves`` are how near each student came to its teacher while it learnt.
    """

    rows: tuple[ResultRow, ...]
    provenance: Provenance
    means: tuple[CollectionMeans, ...] = ()
    curves: dict[str, tuple[CurvePoint, ...]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Report:
        """The report that `to_json` wrote, of this version or an earlier one; raises `InputError` for anything else."""
        try:
            means = [
                CollectionMeans(collections=tuple(found["collections"]), rows=_rows(found["rows"]))
                for found in content.get("means", ())
            ]
            return cls(
                rows=_rows(content["rows"]),
                provenance=Provenance(**content["provenance"]),
                means=tuple(means),
                curves={
                    name: tuple(CurvePoint(**found) for found in curve)
                    for name, curve in content.get("curves", {}).items()
                },
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(
                f"got JSON that is no report ({error!r}), wanted what leafkit evaluate --json prints; measure again"
            ) from error

    def to_json(self) -> dict[str, Any]:
        """Everything, as what `json.dumps` takes; metrics and retentions are fractions, not per cent.

        What has no value (a correlation with a constant) is None, since JSON has no name for it.
        """
        content: dict[str, Any] = _plain(dataclasses.asdict(self))
        return content

    def table(self) -> str:
        """Aligned plain text: one line per row, one column per metric, retentions in per cent.

        Rows with other metrics (a classification after a retrieval) start a new block with its own header, and
        so do the means over collections.
        """
        parts = [self.rows, *(means.rows for means in self.means)]
        blocks = [_aligned(lines) for rows in parts for lines in result_tables(rows)]
        return "\n\n".join(blocks) + "\n\n" + self._footer()

    def _footer(self) -> str:
        source = self.provenance
        space = f"space {source.space['id']}, " if source.space else ""
        commit = f" ({source.commit})" if source.commit else ""
        measured = [f"[95 % interval over queries, {source.resamples} resamples, seed {source.seed}]; "]
        shown = measured if any(row.interval for row in self.rows) else []
        return "".join(shown) + f"{space}leafkit {source.leafkit}{commit}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _rows(found: Sequence[Mapping[str, Any]]) -> tuple[ResultRow, ...]:
    return tuple(ResultRow(**{name: _value(name, value) for name, value in row.items()}) for row in found)


def _value(name: str, value: Any) -> Any:
    if name == "metrics":
        return {metric: math.nan if score is None else score for metric, score in value.items()}
    return Interval(**value) if name.endswith("interval") and value is not None else value
