"""The rule that says which way to take: the cheapest that is good enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from leafkit.evaluation.bootstrap import Interval
from leafkit.evaluation.result_tables import percent
from leafkit.evaluation.upgrade.agreement import Agreement
from leafkit.evaluation.upgrade.judged import Judged
from leafkit.evaluation.upgrade.ways import CANDIDATES, OLD, REEMBED


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Which ``way`` to take, the ``rule`` that says so, and the ``reason`` in figures.

    share: what the way keeps, a fraction, with its ``interval``; None for re-embedding, which is what is left.
    is_sure: whether no value in the interval of any compared way would change the verdict.
    """

    way: str
    rule: str
    reason: str
    share: float | None
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
    found = _first(_shares(judged, best), threshold=keep, option="--keep", of=f"the nDCG@10 of the best way ({best})")
    if found is None:
        raise ValueError(f"the best way, {best}, does not keep all of its own nDCG@10")
    return found


def verdict_of_today(judged: Judged, *, keep: float) -> Verdict | None:
    """Take the first of `CANDIDATES` that keeps the share ``keep`` of the old model's nDCG@10; None if none does.

    None as well if the old model was not measured.
    """
    if OLD not in judged.ways:
        return None
    return _first(_shares(judged, OLD), threshold=keep, option="--keep", of="the old model's nDCG@10")


def _shares(judged: Judged, base: str) -> dict[str, _Share]:
    ratios = {way: judged.ratio(way, base) for way in CANDIDATES if way in judged.ways}
    # Where the base finds nothing at all, every way is as good.
    return {way: _Share(1.0 if one.value is None else one.value, one.interval) for way, one in ratios.items()}


def unjudged_verdict(agreements: Mapping[str, Agreement], *, overlap: float, queries: str) -> Verdict:
    """Take the first of `CANDIDATES` that finds the share ``overlap`` of the old ten best hits, else re-embedding.

    queries: what searched, for the reason.
    """
    kept = [way for way in CANDIDATES if way in agreements and way != REEMBED]
    shares = {way: _Share(agreements[way].overlap, agreements[way].overlap_interval) for way in kept}
    of = f"the old ten best hits, over {queries}"
    found = _first(shares, threshold=overlap, option="--overlap", of=of)
    # Other hits than the old model's are no worse hits, so the overlap cannot speak against the new model.
    return found or _last(shares, threshold=overlap, option="--overlap", of=of)


def _first(shares: Mapping[str, _Share], *, threshold: float, option: str, of: str) -> Verdict | None:
    """Return the verdict for the first way whose share reaches ``threshold``; None if none does."""
    way = next((way for way, share in shares.items() if share.value >= threshold), None)
    if way is None:
        return None
    if way == REEMBED:
        return _last({one: shares[one] for one in shares if one != REEMBED}, threshold=threshold, option=option, of=of)
    passed = list(shares)[: list(shares).index(way)]
    misses = _kept(shares, passed)
    return Verdict(
        way=way,
        rule=_rule(shares, threshold, option, of),
        reason=f"it keeps {shares[way]} of {of}" + (f", and {misses}" if misses else ""),
        share=shares[way].value,
        interval=shares[way].interval,
        is_sure=all(shares[one].is_clear(threshold) for one in [*passed, way]),
    )


def _last(shares: Mapping[str, _Share], *, threshold: float, option: str, of: str) -> Verdict:
    """Return the verdict for re-embedding, because none of ``shares``, those of the cheaper ways, is large enough."""
    return Verdict(
        way=REEMBED,
        rule=_rule([*shares, REEMBED], threshold, option, of),
        reason=f"no cheaper way keeps {threshold:.0%} of {of}: {_kept(shares, shares)}",
        share=None,
        interval=None,
        is_sure=all(share.is_clear(threshold) for share in shares.values()),
    )


def _kept(shares: Mapping[str, _Share], ways: Iterable[str]) -> str:
    return "; ".join(f"{way} keeps {shares[way]}" for way in ways)


def _rule(ways: Iterable[str], threshold: float, option: str, of: str) -> str:
    return f"the first of {', '.join(ways)} that keeps at least {threshold:.0%} ({option}) of {of}"
