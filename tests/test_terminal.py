"""Characters that control a terminal never reach it, and JSON with them escaped reads back exactly."""

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leafkit.terminal import json_text, printable, shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("safe\u202egnp.exe", r"safe\u202egnp.exe"),
        ("over\rwritten", r"over\x0dwritten".replace(r"\x0d", r"\r")),
        ("half \ud83d", r"half \ud83d"),
        ("a\tb\nc", "a\tb\nc"),
        ("naïve 日本語 👩\u200d💻 עברית", "naïve 日本語 👩\u200d💻 עברית"),
    ],
)
def test_unsafe_characters_are_replaced_by_their_escapes(text, expected):
    assert printable(text) == expected


@given(st.text(st.characters()))
def test_a_terminal_gets_no_control_or_bidirectional_character_and_a_file_gets_the_text(text):
    on_terminal = shown(text, Terminal())
    kinds = {unicodedata.bidirectional(character) for character in on_terminal}
    assert not kinds & {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in on_terminal if c not in "\t\n")
    assert not set("\u200e\u200f\u061c") & set(on_terminal)
    on_terminal.encode()
    assert shown(text, io.StringIO()) == text


@given(st.dictionaries(st.text(st.characters()), st.text(st.characters()) | st.floats(allow_nan=False)))
def test_json_reads_back_exactly_and_holds_no_unsafe_character(value):
    for indent in (None, 1):
        text = json_text(value, indent=indent)
        assert json.loads(text) == value
        assert printable(text) == text
