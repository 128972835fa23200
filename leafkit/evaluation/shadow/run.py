"""Run queries through two encoders of an index and compare their hits: what ``leafkit shadow`` does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from leafkit.errors import InputError, OptionError
from leafkit.evaluation.shadow.options import ShadowOptions
from leafkit.evaluation.shadow.queries import Queries, read_queries
from leafkit.evaluation.shadow.report import ShadowReport, make_report
from leafkit.evaluation.shadow.tally import Tally
from leafkit.files.progress import progress
from leafkit.options import options_of, takes
from leafkit.search.hits import Hits
from leafkit.search.manifest_fields import TEACHER
from leafkit.search.searcher import Searcher
from leafkit.space import describe
from leafkit.teachers.options import TeacherOptions
from leafkit.types import Teacher

DEPTH = 10


@takes(ShadowOptions, TeacherOptions)
def shadow(
    index: str | Path, queries: Queries, *, teacher: str | Path | Teacher | None = None, **options: Any
) -> ShadowReport:
    """Search ``index`` for each of ``queries`` with two of its encoders, and report how their hits differ.

    queries: a file with one query per line (plain, .gz or .zst; ``-`` is stdin) or texts. Blank ones are skipped. A
        query that occurs often counts often.
    teacher: the teacher, if it is one of the two; by default the one that the index was built with.

    Each query is searched alone, as on a search host, so the milliseconds are those of one query. Memory does not grow
    with the number of queries but for eight bytes each.

    Raises `InputError` for queries that cannot be read and for an index without documents, and `OptionError` for an
    effort that the index does not have.
    """
    asked, opening = options_of(ShadowOptions, options), options_of(TeacherOptions, options)
    searcher = Searcher.open(index, teacher=partial(_open_teacher, Path(index), teacher, opening))
    between = _between(searcher, asked.between)
    if not len(searcher):
        raise InputError(f"the index {index} holds no documents, so there are no hits to compare. Add some to it.")
    texts = read_queries(queries)
    for effort in between:  # opened now, so that no query pays for it
        searcher.encoder_of(effort)
    tally, blank = Tally(min(DEPTH, len(searcher)), asked.worst), 0
    with progress("shadow", total=None, unit="queries") as bar:
        for query in texts:
            if not query:
                blank += 1
                continue
            # The second search finds the vectors in the processor's caches, so each side is second every other time.
            tally.add(query, *_search(searcher, query, between, swapped=tally.queries % 2 == 1))
            bar.update(1)
    if not tally.queries:
        raise InputError(f"the queries hold {blank:,} blank lines and no query. Give one query per line.")
    first, second = ((effort, _name(searcher, effort)) for effort in between)
    return make_report(
        tally,
        sides=(first, second),
        seed=asked.seed,
        blank=blank,
        index=str(index),
        space=describe(searcher.space),
        documents=len(searcher),
    )


def _open_teacher(index: Path, teacher: str | Path | Teacher | None, options: TeacherOptions) -> Teacher:
    from leafkit.index.recorded_teacher import open_index_teacher

    return open_index_teacher(index, teacher, options)


def _between(searcher: Searcher, asked: Sequence[str] | None) -> tuple[str, str]:
    """Return the efforts to compare; raise `OptionError` unless they are two different ones of the index."""
    students = [effort for effort in searcher.efforts if effort != TEACHER]
    if not students:
        raise OptionError("the index was built without a student, so nothing can be compared with its teacher.")
    chosen = list(asked) if asked else [*students, *([] if len(students) > 1 else [TEACHER])][-2:]
    for effort in chosen:
        if effort not in searcher.efforts:
            raise OptionError(f"the index has no effort {effort!r}; expected two of {', '.join(searcher.efforts)}.")
    if len(set(chosen)) != 2 or len(chosen) != 2:
        raise OptionError(
            f"between is {','.join(chosen)}; expected two different ones of {', '.join(searcher.efforts)}, such as "
            f"--between {searcher.efforts[0]},{searcher.efforts[-1]}."
        )
    return chosen[0], chosen[1]


def _search(
    searcher: Searcher, query: str, between: tuple[str, str], *, swapped: bool = False
) -> tuple[Hits, Hits, tuple[float, float]]:
    """Return the hits of both efforts and the milliseconds of each; the second effort searches first if ``swapped``."""
    found: dict[str, tuple[Hits, float]] = {}
    for effort in reversed(between) if swapped else between:
        begun = time.perf_counter()
        hits = searcher.search(query, DEPTH, effort=effort)
        found[effort] = hits, 1000 * (time.perf_counter() - begun)
    (tried, one), (reference, other) = (found[effort] for effort in between)
    return tried, reference, (one, other)


def _name(searcher: Searcher, effort: str) -> str:
    """Return the student's name, or that of the teacher."""
    if effort == TEACHER:
        return searcher.space.teacher
    return next(rung.student for rung in searcher.rungs if rung.effort == effort)
