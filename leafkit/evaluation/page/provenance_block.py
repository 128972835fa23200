"""The end of a section: the commands, code, data, students, seed and versions behind its figures."""

from __future__ import annotations

from collections.abc import Sequence

from leafkit.evaluation.page.html import Html, element
from leafkit.evaluation.provenance import Provenance


def provenance_block(sources: Sequence[Provenance]) -> list[Html]:
    """Return a heading and the provenance of each report in the section."""
    return [element("h2", "Where the figures come from"), *(part for one in sources for part in _provenance(one))]


def _provenance(source: Provenance) -> list[Html]:
    space = ", ".join(f"{key} {value}" for key, value in (source.space or {}).items() if value not in (None, ""))
    facts = {
        "leafkit": f"{source.leafkit}, commit {source.commit or 'unknown'}",
        "intervals": f"95 %, {source.resamples} bootstrap resamples of the queries, seed {source.seed}",
        "student encoder": source.encoder,
        "vector space": space or "unknown",
        **{f"student {name}": _hash(sha256) for name, sha256 in source.students.items()},
        **source.libraries,
        "versions": ", ".join(f"{name} {version}" for name, version in source.packages.items()),
    }
    parts = [part for name, fact in facts.items() for part in (element("dt", name), element("dd", fact))]
    return [
        element("pre", element("code", source.command)),
        element("dl", *parts, class_="facts"),
        element("div", _data_table(source), class_="wide"),
    ]


def _data_table(source: Provenance) -> Html:
    titles = list(dict.fromkeys(key for one in source.data for key in one))
    head = element("tr", *(element("th", title, scope="col") for title in titles))
    lines = [
        element("tr", *(element("td", one.get(title, "-"), class_="name") for title in titles)) for one in source.data
    ]
    return element("table", element("thead", head), element("tbody", *lines))


def _hash(value: str) -> Html:
    return element("span", value, class_="hash")
