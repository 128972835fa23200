from __future__ import annotations

import doctest

from leafkit.evaluation.page import html
from leafkit.evaluation.page.html import Html, element, joined


def test_the_example_is_as_shown():
    assert doctest.testmod(html).attempted == 1
    assert doctest.testmod(html).failed == 0


def test_text_is_escaped_once_and_markup_never():
    assert joined(["<", Html("<b>"), 3, "&amp;"]) == "&lt;<b>3&amp;amp;"
    assert element("i", element("b", "&")) == "<i><b>&amp;</b></i>"


def test_attributes_cannot_end_early():
    assert element("p", title='"><script>') == '<p title="&quot;&gt;&lt;script&gt;"></p>'
