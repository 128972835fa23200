from __future__ import annotations

import doctest

from leafkit.evaluation.page import html
from leafkit.evaluation.page.html import Html, element, joined


def test_the_example_in_the_docstring_holds():
    assert doctest.testmod(html).attempted == 1
    assert doctest.testmod(html).failed == 0


def test_text_is_escaped_once_and_markup_is_not():
    assert joined(["<", Html("<b>"), 3, "&amp;"]) == "&lt;<b>3&amp;amp;"
    assert element("i", element("b", "&")) == "<i><b>&amp;</b></i>"


def test_quotes_in_attributes_are_escaped():
    assert element("p", title='"><script>') == '<p title="&quot;&gt;&lt;script&gt;"></p>'
