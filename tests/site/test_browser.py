"""Sites in a headless browser without a network: the hits of Python's searcher, and a page that people can use."""

from __future__ import annotations

import json
import shutil
from urllib.parse import quote

import pytest

import leafkit
from leafkit.cli.quickstart import index_embedded
from leafkit.models.help_pages import write_help_pages
from leafkit.site.build import build_site
from tests.fixtures.browser import open_browser
from tests.site.conftest import HOSTILE, real_npm, served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PLACE = "sub/path"
# Searches without the page.
SEARCH = """(async (base, queries) => {
  const { Search } = await import(`${base}page/search.js`);
  const search = await Search.open(new URL(base)), answers = [];
  for (const query of queries) answers.push(await search.search(query, 10));
  return { agreement: search.agreement, answers };
})"""
# What stands on the page.
STATE = """(() => {
  const get = (id) => document.getElementById(id), all = (kind) => [...document.querySelectorAll(kind)];
  const at = document.activeElement;
  return {
    status: get("status").textContent, error: get("status").className, place: location.hash,
    titles: all("#hits .title").map((one) => one.textContent),
    scores: all("#hits .score").map((one) => Number(one.textContent)),
    links: all("#hits a").map((one) => one.href),
    tags: [...new Set(all("main *").map((one) => one.localName))].sort(),
    width: document.documentElement.scrollWidth,
    heading: document.querySelector("h1").textContent, about: get("about").textContent, hurt: typeof window.hurt,
    focus: at === get("query") ? "query" : [...get("hits").children].indexOf(at),
  };
})()"""
HITS = "document.querySelectorAll('#hits li').length"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def browser(opened):
    """The browser, which has complained about nothing and asked for nothing yet."""
    opened.console.clear()
    opened.requests.clear()
    opened.size(900)
    return opened


def read(browser, server, query):
    """Open the page of a ``query`` and return what stands there once it has hits or an error."""
    browser.go(f"{server.url}/{PLACE}/#q={quote(query)}")
    browser.wait(f"{HITS} || document.getElementById('status').className === 'error'")
    return browser.run(STATE)


def enter(browser, query, hits):
    """Change the query on the page, wait for so many ``hits``, and return what stands there then."""
    browser.run(f"document.getElementById('query').value = {json.dumps(query)}")
    browser.run("document.getElementById('query').dispatchEvent(new Event('input', { bubbles: true }))")
    browser.wait(f"{HITS} === {hits}")
    return browser.run(STATE)


def require_own(browser, server):
    """Nothing was complained about or asked of another server."""
    assert browser.console == []
    assert all(address.startswith(("about:blank", f"{server.url}/")) for address in browser.requests)


def searched(browser, folder, index, queries):
    """The answers of the site in ``folder`` and of the index it was built from."""
    (folder / "empty.html").write_text('<!DOCTYPE html><link rel="icon" href="data:,">')
    with served(folder) as server:
        browser.go(f"{server.url}/empty.html")
        report = browser.run(f"{SEARCH}({json.dumps(f'{server.url}/{PLACE}/')}, {json.dumps(queries)})")
        require_own(browser, server)
    return report, leafkit.Searcher.open(index).search(queries, k=10)


def equal_hits(report, expected):
    pairs = [([hit["id"] for hit in answer["hits"]], hits.ids) for answer, hits in zip(report["answers"], expected)]
    return sum(len({*got} & {*wanted}) for got, wanted in pairs), sum(got[0] == wanted[0] for got, wanted in pairs)


def test_the_browser_finds_what_python_finds(browser, tmp_path):
    """A hundred questions to 1,000 help pages. Measured: 996 of 1,000 hits and all best hits are the same."""
    pages = write_help_pages(tmp_path / "help")
    index, _ = index_embedded(tmp_path)
    folder = tmp_path / "served"
    with real_npm() as cache:
        build_site(index, folder / PLACE, cache=cache)
    report, expected = searched(browser, folder, index, pages.queries[:100])
    hits, best = equal_hits(report, expected)
    assert hits >= 990
    assert best >= 99
    assert report["agreement"] > 0.9999
    for answer, wanted in zip(report["answers"], expected):
        scores = [hit["score"] for hit in answer["hits"]]
        assert scores == pytest.approx(wanted.scores.tolist(), abs=2e-3), "other hits are no better than Python's"


@pytest.fixture(scope="module")
def table_index(tiny_teacher, table_student, sentences, tmp_path_factory):
    """An index of the sentences, of which one is hostile, with a token table inside."""
    folder = tmp_path_factory.mktemp("table")
    rows = [{"_id": f"doc-{i}", "title": f"{text} é", "text": text} for i, text in enumerate(sentences[:60])]
    rows[3] |= {"title": HOSTILE, "text": HOSTILE, "url": "javascript:hurt = 1"}
    rows[5] |= {"url": "https://example.org/5"}
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"student": table_student, "cache": folder / "cache"}
    return leafkit.build_index(folder / "docs.jsonl", tiny_teacher, folder / "docs.index", **options)


@pytest.fixture(scope="module")
def table_site(table_index, tmp_path_factory):
    """A folder to serve, with the site of `table_index` inside."""
    folder = tmp_path_factory.mktemp("served")
    with real_npm() as cache:
        build_site(table_index, folder / PLACE, title=HOSTILE, cache=cache)
    return folder


def test_a_token_table_is_computed_without_a_runtime(browser, table_index, table_site, sentences):
    assert not list((table_site / PLACE).rglob("*.wasm"))
    queries = [*sentences[60:120], " ".join(sentences[:50]), "Üñî 数据 copy"]
    report, expected = searched(browser, table_site, table_index, queries)
    assert min(equal_hits(report, expected)) >= len(queries) - 1
    for answer, wanted in zip(report["answers"], expected):
        assert [hit["score"] for hit in answer["hits"]] == pytest.approx(wanted.scores.tolist(), abs=1e-3)


@pytest.mark.parametrize("width", [900, 320])
def test_a_search_is_typed_and_read(browser, table_index, table_site, sentences, width):
    browser.size(width)
    first, second = HOSTILE, sentences[70]
    states, focus = {}, []
    with served(table_site) as server:
        states["first"] = read(browser, server, first)
        browser.run("document.getElementById('query').focus()")
        for key in ["ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowDown", "/"]:
            browser.press(key)
            focus.append(browser.run(STATE)["focus"])
        browser.run("document.getElementById('more').click()")
        browser.wait(f"{HITS} > 10")
        states["more"] = browser.run(STATE)
        states["second"] = enter(browser, second, 10)
        states["empty"] = enter(browser, " ", 0)
        require_own(browser, server)
    expected = leafkit.Searcher.open(table_index).search([first, second], k=20)
    for name, hits in (("more", expected[0]), ("second", expected[1])):
        titles = [payload["title"] for payload in hits.payload]
        assert (
            len({*states[name]["titles"]} & {*titles[: len(states[name]["titles"])]}) >= len(states[name]["titles"]) - 1
        )
        assert states[name]["scores"] == pytest.approx(hits.scores[: len(states[name]["titles"])].tolist(), abs=2e-3)
        assert "ms: " in states[name]["status"]
    assert [len(states[name]["titles"]) for name in states] == [10, 20, 10, 0]
    assert states["second"]["place"] == f"#q={second.replace(' ', '+')}"
    assert states["empty"]["place"] == ""
    assert "60 documents" in states["empty"]["status"]
    assert focus == [0, 1, 0, "query", 0, "query"]
    assert all(state["width"] <= width for state in states.values())
    assert "60 documents, embedded by tiny-teacher. Queries are embedded by table" in states["first"]["about"]
    assert HOSTILE in states["more"]["titles"]
    assert states["first"]["heading"] == HOSTILE
    assert {*states["more"]["links"]} <= {"https://example.org/5"}
    own = {*"a button code div form h1 input label li ol p progress span".split()}
    assert {*states["more"]["tags"]} <= own
    assert states["empty"]["hurt"] == "undefined"


def test_a_site_with_a_file_missing_says_so(browser, table_site, tmp_path):
    folder = shutil.copytree(table_site, tmp_path / "served")
    (folder / PLACE / "data" / "vectors.bin").unlink()
    with served(folder) as server:
        status = read(browser, server, "copy")["status"]
    assert status.startswith(f"The search cannot start: {server.url}/")
    assert "vectors.bin" in status
    assert status.endswith("answers with status 404.")


def test_a_page_that_is_opened_as_a_file_says_what_it_needs(browser, table_site):
    browser.go((table_site / PLACE / "index.html").as_uri())
    state = browser.run(STATE)
    assert "python3 -m http.server" in state["status"]
    assert state["error"] == "starting"
