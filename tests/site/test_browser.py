"""Sites in a headless browser without a network: the hits of Python's searcher, and a page that people can use."""

from __future__ import annotations

import json
import shutil
import subprocess
from urllib.parse import quote

import pytest

import leafkit
from leafkit.cli.quickstart import index_embedded
from leafkit.models.help_pages import write_help_pages
from leafkit.site.build import build_site
from tests.site.browser import need_browser, real_npm, report_of, served
from tests.site.conftest import HOSTILE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PLACE = "sub/path"
# Searches without the page, and reports hits, times and what was requested.
HARNESS = """<!DOCTYPE html><link rel="icon" href="data:,"><script type="module">
const report = (content) => fetch("/report", { method: "POST", body: JSON.stringify(content) });
try {
  const { Search } = await import("/PLACE/page/search.js");
  const search = await Search.open(new URL("/PLACE/", location.href));
  const queries = await (await fetch("/queries.json")).json(), answers = [];
  for (const query of queries) answers.push(await search.search(query, 10));
  const requested = performance.getEntriesByType("resource").map((entry) => entry.name);
  await report({ agreement: search.agreement, answers, requested });
} catch (error) { await report({ error: `${error} ${error.stack}` }); }
</script>"""
# A frame around the page, which types, presses keys, and reports what stands there.
FRAME = """<!DOCTYPE html><link rel="icon" href="data:,">
<iframe width="WIDTH" height="700" src="/PLACE/#q=FIRST"></iframe>
<script type="module">
const report = (content) => fetch("/report", { method: "POST", body: JSON.stringify(content) });
const frame = document.querySelector("iframe");
await new Promise((loaded) => frame.addEventListener("load", loaded));
const { document: page, KeyboardEvent: Key, Event: Input } = frame.contentWindow;
const get = (id) => page.getElementById(id);
const until = async (holds) => {
  for (let tries = 0; tries < 2000 && !holds(); tries++) await new Promise((next) => setTimeout(next, 50));
  if (!holds()) throw new Error(`still: ${get("status").textContent}`);
};
const press = (key) => page.activeElement.dispatchEvent(new Key("keydown", { key, bubbles: true, cancelable: true }));
const state = () => ({
  status: get("status").textContent, error: get("status").className, place: frame.contentWindow.location.hash,
  titles: [...page.querySelectorAll("#hits .title")].map((one) => one.textContent),
  texts: [...page.querySelectorAll("#hits .text")].map((one) => one.textContent),
  scores: [...page.querySelectorAll("#hits .score")].map((one) => Number(one.textContent)),
  links: [...page.querySelectorAll("#hits a")].map((one) => one.href),
  tags: [...new Set([...page.querySelectorAll("main *")].map((one) => one.localName))].sort(),
  width: page.documentElement.scrollWidth,
  heading: page.querySelector("h1").textContent, about: get("about").textContent,
});
const states = {}, focus = [];
try {
  await until(() => get("status").className === "error" || get("hits").children.length);
  states.first = state();
  if (get("status").className !== "error") {
    get("query").focus();
    for (const key of ["ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowDown", "/"]) {
      press(key);
      const at = page.activeElement;
      focus.push(at === get("query") ? "query" : [...get("hits").children].indexOf(at));
    }
    get("more").click();
    await until(() => get("hits").children.length > 10);
    states.more = state();
    get("query").value = "SECOND";
    get("query").dispatchEvent(new Input("input", { bubbles: true }));
    await until(() => get("hits").children.length === 10);
    states.second = state();
    get("query").value = " ";
    get("query").dispatchEvent(new Input("input", { bubbles: true }));
    await until(() => !get("hits").children.length);
    states.empty = state();
  }
  const requested = frame.contentWindow.performance.getEntriesByType("resource").map((entry) => entry.name);
  await report({ states, focus, requested, hurt: typeof frame.contentWindow.hurt });
} catch (error) { await report({ failed: `${error} ${error.stack}` }); }
</script>"""


@pytest.fixture(scope="module")
def browser():
    return need_browser()


def asked(browser, folder, html, profile, **options):
    """What the page ``html`` beside the site reports; the browser's console is empty."""
    (folder / "test.html").write_text(html.replace("PLACE", PLACE), encoding="utf-8")
    with served(folder) as server:
        report, console = report_of(browser, server, "/test.html", profile, **options)
    assert "error" not in report, report["error"]
    assert "failed" not in report, report["failed"]
    assert all(address.startswith(f"{server.url}/") for address in report["requested"])
    return report, console


def searched(browser, folder, index, queries, profile):
    """The answers of the site in ``folder`` and of the index it was built from."""
    (folder / "queries.json").write_text(json.dumps(queries))
    report, console = asked(browser, folder, HARNESS, profile)
    assert console == []
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
    report, expected = searched(browser, folder, index, pages.queries[:100], tmp_path / "profile")
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


def test_a_token_table_is_computed_without_a_runtime(browser, table_index, table_site, sentences, tmp_path):
    assert not list((table_site / PLACE).rglob("*.wasm"))
    queries = [*sentences[60:120], " ".join(sentences[:50]), "Üñî 数据 copy"]
    report, expected = searched(browser, table_site, table_index, queries, tmp_path / "profile")
    assert min(equal_hits(report, expected)) >= len(queries) - 1
    for answer, wanted in zip(report["answers"], expected):
        assert [hit["score"] for hit in answer["hits"]] == pytest.approx(wanted.scores.tolist(), abs=1e-3)


@pytest.mark.parametrize("width", [900, 320])
def test_a_search_is_typed_and_read(browser, table_index, table_site, sentences, width, tmp_path):
    searcher = leafkit.Searcher.open(table_index)
    first, second = HOSTILE, sentences[70]
    html = FRAME.replace("WIDTH", str(width)).replace("FIRST", quote(first)).replace("SECOND", second)
    report, console = asked(browser, table_site, html, tmp_path / "profile")
    states, expected = report["states"], searcher.search([first, second], k=20)
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
    assert report["focus"] == [0, 1, 0, "query", 0, "query"]
    assert all(state["width"] <= width for state in states.values())
    assert "60 documents, embedded by tiny-teacher. Queries are embedded by table" in states["first"]["about"]
    assert HOSTILE in states["more"]["titles"]
    assert states["first"]["heading"] == HOSTILE
    assert {*states["more"]["links"]} <= {"https://example.org/5"}
    own = {*"a button code div form h1 input label li ol p progress span".split()}
    assert {*states["more"]["tags"]} <= own
    assert (report["hurt"], console) == ("undefined", [])


def test_a_site_with_a_file_missing_says_so(browser, table_site, tmp_path):
    folder = shutil.copytree(table_site, tmp_path / "served")
    (folder / PLACE / "data" / "vectors.bin").unlink()
    html = FRAME.replace("WIDTH", "900").replace("FIRST", "copy")
    report, _ = asked(browser, folder, html, tmp_path / "profile")
    assert report["states"]["first"]["status"].startswith("The search cannot start: http://127.0.0.1")
    assert "vectors.bin" in report["states"]["first"]["status"]
    assert report["states"]["first"]["status"].endswith("answers with status 404.")


def test_a_page_that_is_opened_as_a_file_says_what_it_needs(browser, table_site, tmp_path):
    address = (table_site / PLACE / "index.html").as_uri()
    command = [
        browser,
        "--headless=new",
        "--no-sandbox",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        address,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "python3 -m http.server" in done.stdout
    assert 'class="starting"' in done.stdout
