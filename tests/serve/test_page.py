"""The page of the server: what it is sent with, and what a person sees who types a search."""

from __future__ import annotations

import contextlib
import json
import math
import re
import socket
import threading
import time
from urllib.parse import quote

import numpy
import pytest

from leafkit.search.searcher import Searcher
from leafkit.serve import app
from leafkit.shipped import resolve_student
from tests.fixtures.browser import open_browser
from tests.fixtures.packages import index_vectors
from tests.serve.conftest import STUDENT, client_of, message

HOSTILE = '<img src=x onerror="document.title = 1"><script>document.title = 1</script>'


def test_the_page_and_its_files_come_from_this_server_alone(client):
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert named == ["data:,", "page.css", "page.mjs"], "relative, so that a proxy may serve it under a path"
    for path, kind in (("/page.css", "text/css"), ("/page.mjs", "text/javascript")):
        assert client.get(path).headers["content-type"].startswith(kind)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not re.search("unsafe|http", policy)
    assert not re.search(r"<script(?! type=\"module\" src)|style=|\son\w+=", page.text), "the policy forbids them"


def test_the_page_needs_no_key_but_what_it_asks_does(vectors_index, monkeypatch):
    monkeypatch.setenv("LEAFKIT_API_KEY", "sk-secret")
    with client_of(vectors_index) as client:
        assert client.get("/").status_code == client.get("/page.mjs").status_code == 200
        assert "the API key is missing" in message(client.get("/info"), 401)


def test_info_says_what_the_page_offers(client, index, searcher):
    facts = client.get("/info").json()["indexes"]["docs"]
    assert facts["bytes"] == sum(
        file.stat().st_size for file in index.rglob("*") if file.name != "manifest.json" and file.is_file()
    )
    assert facts["columns"] == searcher.columns
    assert facts["hybrid"] is True


@contextlib.contextmanager
def serving(*arguments, **options):
    """Serve indexes on a free port inside the block; gives the address of the page."""
    uvicorn = pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app(*arguments, **options), lifespan="on", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://localhost:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def indexes(student_space, tmp_path_factory):
    """Two indexes of the same documents by name; the second holds fewer numbers. Every title is hostile."""
    vectors = numpy.random.default_rng(0).standard_normal((60, student_space.dim)).astype(numpy.float32)
    payload = [{"title": f"{HOSTILE} {row}", "text": f"text {row}", "row": row} for row in range(len(vectors))]
    ids = [f"doc {row}" for row in range(len(vectors))]
    student, made = resolve_student(STUDENT), {}
    for name, dim in (("whole", None), ("narrow", 64)):
        out = tmp_path_factory.mktemp(name) / "docs.index"
        made[name] = index_vectors(ids, vectors, student_space, out, payload=payload, student=student, dim=dim)
    return made


@pytest.fixture(scope="module")
def address(indexes):
    with serving(indexes) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(browser, address):
    """The page, open in a wide window; afterwards nothing was complained about or asked of another server."""
    browser.console.clear()
    browser.requests.clear()
    browser.size(1200)
    browser.go(address)
    browser.wait("document.querySelectorAll('.index option').length === 4")
    yield browser
    assert browser.console == []
    assert {re.sub(r"#.*", "", each) for each in browser.requests} <= {"about:blank", *owned(address)}


def owned(address):
    return {address + path for path in ("", "page.css", "page.mjs", "info", "search")}


def shown(page, side):
    """Return the ids that a column shows, best first."""
    return page.run(f"[...document.querySelectorAll('#{side} li')].map(one => one.dataset.id)")


def find(page, text):
    """Type a query and wait for its hits."""
    page.run("document.getElementById('query').value = ''; document.getElementById('query').focus()")
    page.type(f"{text}\n")
    page.wait("/overlap@|No hits/.test(document.getElementById('status').textContent)")


@pytest.mark.slow
def test_a_typed_search_shows_the_hits_of_both_indexes_and_lines_between_equal_ones(page, indexes):
    find(page, "copy a file")
    expected = {name: Searcher.open(folder).search("copy a file") for name, folder in indexes.items()}
    left, right = expected["whole"].ids, expected["narrow"].ids
    assert (shown(page, "left"), shown(page, "right")) == (left, right)
    shared = [name for name in left if name in right]
    assert 0 < len(shared) < 10, "otherwise this test could not tell a line from none"
    assert page.run("[...document.querySelectorAll('#lines path')].map(one => one.dataset.id)") == shared
    assert f"overlap@10: {len(shared)} of 10" in page.run("document.getElementById('status').textContent")
    scores = page.run("[...document.querySelectorAll('#left .score')].map(one => one.textContent)")
    assert scores == [f"{score:.3f}" for score in expected["whole"].scores]


@pytest.mark.slow
def test_hostile_documents_are_text(page):
    find(page, "copy a file")
    assert page.run("document.title") == "leafkit"
    assert page.run("document.querySelectorAll('main img, main script').length") == 0
    assert page.run("document.querySelector('#left .id').textContent").startswith(HOSTILE)


@pytest.mark.slow
def test_an_address_brings_a_search_back(page, address):
    find(page, "copy a file")
    page.run("document.querySelector('#right .hybrid').value = '0'")
    page.run("document.querySelector('#right .hybrid').dispatchEvent(new Event('change', {bubbles: true}))")
    page.wait("location.hash.includes('right-hybrid=0')")
    link = page.run("location.href")
    page.go(link)
    page.wait("document.querySelectorAll('#left li').length")
    assert page.run("document.getElementById('query').value") == "copy a file"
    assert page.run("document.querySelector('#right .hybrid').value") == "0"


@pytest.mark.slow
def test_a_filter_limits_both_columns_and_a_wrong_one_is_explained(browser, address):
    browser.go(f"{address}#q=copy&where={quote('row < 3')}")
    browser.wait("/overlap@3: 3 of 3/.test(document.getElementById('status').textContent)")
    assert {*shown(browser, "left")} == {*shown(browser, "right")} == {"doc 0", "doc 1", "doc 2"}
    browser.go(f"{address}#q=copy&where={quote('row <')}")
    said = browser.wait("document.querySelector('#status.wrong')?.textContent")
    assert re.search(r"row <.*\^$", said, flags=re.DOTALL)


@pytest.mark.slow
def test_many_queries_are_sorted_by_what_they_lose(page, indexes):
    texts = ["copy a file", "list open ports", "kill a process"]
    found = {name: Searcher.open(folder).search(texts) for name, folder in indexes.items()}
    overlaps = {
        text: len({*one.ids} & {*other.ids}) / 10 for text, one, other in zip(texts, found["whole"], found["narrow"])
    }
    assert len({*overlaps.values()}) == len(texts), "otherwise the order would not be tested"
    judged = {"text": "zip a folder", "relevant": Searcher.open(indexes["whole"]).search("zip a folder", 2).ids}
    lines = "\n".join([*texts, json.dumps(judged)])
    page.run(f"document.getElementById('queries').value = {json.dumps(lines)}; document.getElementById('run').click()")
    page.wait("!document.getElementById('table').hidden")
    cells = page.run(
        "[...document.querySelectorAll('#table tbody tr')].map(row => [...row.cells].map(c => c.textContent))"
    )
    assert [row[0] for row in cells] == ["zip a folder", *sorted(texts, key=lambda text: overlaps[text])]
    assert [float(row[1]) for row in cells[1:]] == pytest.approx(sorted(overlaps.values()))
    narrow = Searcher.open(indexes["narrow"]).search("zip a folder").ids
    gains = [1 / math.log2(narrow.index(name) + 2) for name in judged["relevant"] if name in narrow]
    assert [float(value) for value in cells[0][2:]] == pytest.approx([1, sum(gains) / (1 + 1 / math.log2(3))], abs=6e-4)


@pytest.mark.slow
def test_many_queries_run_with_what_was_chosen_when_they_began(page):
    """Here the same index is chosen for both columns, and another number of hits, while the queries run."""
    page.run("document.getElementById('queries').value = 'copy a file\\n'.repeat(40)")
    page.run(
        "document.getElementById('run').click(); document.querySelector('#right .index').value = 'whole';"
        "document.getElementById('k').value = 3"
    )
    said = page.wait("/mean overlap.*/.exec(document.getElementById('progress').textContent)?.[0]")
    assert re.fullmatch(r"mean overlap@10 0\.[1-9]000\.", said)


@pytest.mark.slow
def test_a_search_stops_many_queries_and_the_page_says_so(page):
    page.run("document.getElementById('queries').value = 'copy a file\\n'.repeat(2000)")
    page.run("document.getElementById('query').value = 'zip'; document.getElementById('run').click()")
    page.run("document.getElementById('form').requestSubmit()")
    page.wait("document.getElementById('progress').textContent.startsWith('Stopped')")
    page.wait("document.getElementById('status').textContent.startsWith('overlap@10')")


@pytest.mark.slow
def test_a_narrow_window_shows_everything_without_scrolling_sideways(page):
    page.size(390)
    find(page, "copy a file")
    assert page.run("document.documentElement.scrollWidth") <= 390
    assert page.run("getComputedStyle(document.getElementById('lines')).display") == "none"


@pytest.mark.slow
def test_a_page_without_a_key_asks_for_it(browser, indexes, monkeypatch):
    monkeypatch.setenv("LEAFKIT_API_KEY", "sk-secret")
    with serving(indexes["whole"]) as address:
        browser.go(f"{address}#q=copy")
        assert "API key is missing" in browser.wait("document.querySelector('#status.wrong')?.textContent")
        browser.run("document.getElementById('key').focus()")
        browser.type("sk-secret\n")
        browser.wait("document.querySelectorAll('#left li').length === 10")


@pytest.mark.slow
def test_the_columns_begin_with_the_two_best_students_of_one_index(browser, ladder):
    with serving(ladder) as address:
        browser.go(f"{address}#q=copy+a+file")
        browser.wait("document.querySelectorAll('#right li').length === 10")
        searcher = Searcher.open(ladder)
        expected = [searcher.search("copy a file", effort=effort).ids for effort in ("full", "table")]
        assert [shown(browser, "left"), shown(browser, "right")] == expected
