"""The rule that says which way to take: the cheapest that is good enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leafkit.evaluation.bootstrap import Interval
from leafkit.evaluation.result_tables import percent
from leafkit.evaluation.upgrade.agreement import Agreement
from leafkit.evaluation.upgrade.judged import Judged
from leafkit.evaluation.upgrade.ways import CANDIDATES, REEMBED


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Which ``way`` to take, the ``rule`` that says so, and the ``reason`` in figures.

    share: what the way keeps, a fraction, with its ``interval``: of the best way's nDCG@10, or of the old ten best
    hits. is_sure: whether no value in the interval of any compared way would change the verdict.
    """

    way: str
    rule: str
    reason: str
    share: float
    interval: Interval | None
    is_sure: bool


@dataclass(frozen=True)
class _Share:
    value: float
    interval: Interval | None

    def __str__(self) -> str:
        return percent(self.value, self.interval)

    def is_clear(self, threshold: float) -> bool:
        """Tell whether the whole interval is on one side of ``threshold``."""
        return self.interval is not None and not self.interval.low < threshold <= self.interval.high


def judged_verdict(judged: Judged, *, keep: float) -> Verdict:
    """Take the first of `CANDIDATES` that keeps the share ``keep`` of the best candidate's nDCG@10."""
    candidates = [way for way in CANDIDATES if way in judged.ways]
    best = max(candidates, key=lambda way: judged.ndcg(way).value or 0.0)
    ratios = {way: judged.ratio(way, best) for way in candidates}
    # Where the best way finds nothing at all, every way is as good as the best.
    shares = {way: _Share(1.0 if one.value is None else one.value, one.interval) for way, one in ratios.items()}
    return _first(shares, threshold=keep, option="--keep", of=f"the nDCG@10 of the best way ({best})")


def unjudged_verdict(agreements: Mapping[str, Agreement], *, overlap: float, queries: str) -> Verdict:
    """Take the first of `CANDIDATES` that finds the share ``overlap`` of the old ten best hits, else re-embedding.

    queries: what searched, for the reason.
    """
    kept = [way for way in CANDIDATES if way in agreements and way != REEMBED]
    shares = {way: _Share(agreements[way].overlap, agreements[way].overlap_interval) for way in kept}
    # Other hits than the old model's are no worse hits, so this figure cannot speak against the new model.
    shares[REEMBED] = _Share(1.0, None)
    return _first(shares, threshold=overlap, option="--overlap", of=f"the old ten best hits, over {queries}")


def _first(shares: Mapping[str, _Share], *, threshold: float, option: str, of: str) -> Verdict:
    way = next(way for way, share in shares.items() if share.value >= threshold)
    passed = list(shares)[: list(shares).index(way)]
    compared = [*passed, *([] if way == REEMBED else [way])]
    misses = "; ".join(f"{one} keeps {shares[one]}" for one in passed)
    if way == REEMBED:
        reason = f"no cheaper way keeps {threshold:.0%} of {of}: {misses}"
    else:
        reason = f"it keeps {shares[way]} of {of}" + (f", and {misses}" if misses else "")
    return Verdict(
        way=way,
        rule=f"the first of {', '.join(shares)} that keeps at least {threshold:.0%} ({option}) of {of}",
        reason=reason,
        share=shares[way].value,
        interval=shares[way].interval,
        is_sure=all(shares[one].is_clear(threshold) for one in compared),
    )
