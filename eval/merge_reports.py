"""Merge reports that agree into one section of a page: same vector space, encoder and data, no contradicting figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leafkit.evaluation.page.section_content import SectionContent
from leafkit.evaluation.provenance import Provenance
from leafkit.evaluation.report import Report
from leafkit.evaluation.result_rows import CollectionMeans, ResultRow


def merge_reports(reports: Sequence[Report]) -> list[SectionContent]:
    """Return as few sections as possible, in the order of ``reports``; a contradicting report starts a new one."""
    sections: list[SectionContent] = []
    for report in reports:
        at = next((at for at, section in enumerate(sections) if _agrees(section, report)), None)
        if at is None:
            sections.append(SectionContent.of(report))
        else:
            sections[at] = _merged(sections[at], report)
    return sections


def _agrees(section: SectionContent, report: Report) -> bool:
    ours, theirs = section.sources, report.provenance
    known = {_key(row): row for row in section.rows}
    return (
        ours[0].space == theirs.space
        and ours[0].encoder == theirs.encoder
        and all(_no_conflict(source.students, theirs.students) for source in ours)
        and all(_no_conflict(_data_by_name(source), _data_by_name(theirs)) for source in ours)
        and all(known.get(_key(row), row) == row for row in report.rows)
    )


def _merged(section: SectionContent, report: Report) -> SectionContent:
    means = {found.collections: found.rows for found in section.means}
    for found in report.means:
        means[found.collections] = _union(means.get(found.collections, ()), found.rows)
    return SectionContent(
        rows=_union(section.rows, report.rows),
        means=tuple(CollectionMeans(collections=collections, rows=rows) for collections, rows in means.items()),
        sources=(*section.sources, report.provenance),
        curves=section.curves | report.curves,
    )


def _union(first: Sequence[ResultRow], second: Sequence[ResultRow]) -> tuple[ResultRow, ...]:
    """Return every row once, with the rows of a collection next to each other."""
    rows = [*first, *(row for row in second if row not in first)]
    order = list(dict.fromkeys(row.data for row in rows))
    return tuple(sorted(rows, key=lambda row: order.index(row.data)))


def _key(row: ResultRow) -> tuple[object, ...]:
    return row.data, row.mode, row.student, row.dim, row.precision


def _data_by_name(source: Provenance) -> dict[str, dict[str, str]]:
    """Return the data sources by name, without their folders: the same data may lie elsewhere."""
    return {one["name"]: {key: value for key, value in one.items() if key != "source"} for one in source.data}


def _no_conflict(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return all(other.get(name, value) == value for name, value in one.items())
