"""The page in a browser: plots are visible, the console is empty and nothing is requested."""

from __future__ import annotations

import pytest

from leafkit.evaluation.page.build import page
from tests.fixtures.browser import open_browser

# The page itself runs no script.
MEASURE = """(() => {
  const size = one => one.getBoundingClientRect();
  const texts = [...document.querySelectorAll("svg text")].filter(one => one.textContent);
  const boxes = texts.map(size), frames = texts.map(one => size(one.ownerSVGElement));
  const within = (a, b) => a.left >= b.left && a.right <= b.right && a.top >= b.top && a.bottom <= b.bottom;
  const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
  return {
    svg: [...document.querySelectorAll("svg")].map(one => [size(one).width, size(one).height]),
    overlaps: boxes.filter((a, i) => boxes.slice(i + 1).some(b => !apart(a, b))).length,
    cut: boxes.filter((a, i) => !within(a, frames[i])).length,
    width: document.documentElement.scrollWidth,
    hidden: [...document.querySelectorAll(".wide, .heats")].map(one => one.scrollWidth - one.clientWidth),
    sizes: boxes.map(one => one.height).filter(one => one > 0),
    text: document.body.innerText,
    alerted: typeof window.alerted,
  };
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


def shown(browser, folder, html, *, width=1200):
    """Return what the browser shows of the page in a window of ``width``, and the errors on its console."""
    (folder / "page.html").write_text(html, encoding="utf-8")
    address = (folder / "page.html").as_uri()
    browser.console.clear()
    browser.requests.clear()
    browser.size(width, 2000)
    browser.go(address)
    found = browser.run(MEASURE)
    found["requests"] = [one for one in browser.requests if one not in ("about:blank", address)]
    return found, [*browser.console]


@pytest.mark.parametrize("width", [1200, 400])
def test_a_page_is_drawn_without_any_request(browser, make, add_curves, tmp_path, width):
    dims, precisions = [768, 512, 384, 256, 128, 64], ["float32", "float16", "int8", "int4", "binary", "binary+none"]
    report = make(["scifact", "WWW/mmmmmmmmmmmmmmmmmmmmmmmm"], ["small", "smaller"], dims=dims, precisions=precisions)
    found, console = shown(browser, tmp_path, page([add_curves(report, "small", "smaller")]), width=width)
    assert console == []
    assert found["requests"] == []
    assert len(found["svg"]) == 3 + 2
    assert all(width > 100 and height > 100 for width, height in found["svg"])
    assert (found["overlaps"], found["cut"]) == (0, 0)
    assert found["width"] <= width, "nothing reaches beyond the right edge"
    assert set(found["hidden"]) == {0}, "no table has columns to scroll to"
    assert min(found["sizes"]) >= 9, "no text of a plot is too small to read"
    assert "small, smaller: distilled from the-teacher" in found["text"]


def test_hostile_names_are_shown_as_text(browser, make, tmp_path):
    name = '<script>alerted = 1</script><img src="http://example.org/x.png" onerror="alerted = 1">'
    found, console = shown(browser, tmp_path, page([make([name, "other"], [name])]))
    assert (found["alerted"], found["requests"], console) == ("undefined", [], [])
    assert name in found["text"]


def test_the_checks_detect_a_bad_page(browser, tmp_path):
    bad = "<img src=http://example.org/x.png><script>alerted = 1; console.error(1)</script><svg width=0 height=0></svg>"
    bad += "<svg width=90 height=50><text x=9 y=30>one</text><text x=12 y=33>two</text><text x=86 y=30>3</text></svg>"
    found, console = shown(browser, tmp_path, bad)
    assert (found["alerted"], found["svg"], len(found["requests"])) == ("number", [[0, 0], [90, 50]], 1)
    assert (found["overlaps"], found["cut"]) == (1, 1)
    assert console


def test_the_checks_detect_a_table_that_is_cut(browser, tmp_path):
    found, _ = shown(browser, tmp_path, f'<div class="wide" style="overflow-x: auto"><p>{"m" * 999}</p></div>')
    assert found["hidden"][0] > 100
