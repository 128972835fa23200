"""Documents of strangers cannot control the terminal, and Ctrl-C says how to go on."""

import json
import logging
import os
import pty
import shutil
import subprocess
import sys

import numpy
import pytest

from leafkit.cli.printing import LogFormatter
from tests.fixtures.packages import update_vectors

EVIL = {"text": "\x1b]0;owned\x07 \u202etxt.exe \x9b2J", "title": "\x1b[2J\x85"}


@pytest.fixture(scope="module")
def evil(made, tmp_path_factory):
    """The index of `made` with one document whose id, title and text control a terminal, and half a surrogate pair."""
    folder = shutil.copytree(made / "docs.index", tmp_path_factory.mktemp("evil") / "docs.index")
    vectors = numpy.eye(32, dtype=numpy.float32)[:1]
    names = [f"doc-{row}" for row in range(100)]
    update_vectors(folder, ids=["\x1b[8m\nid \ud800"], vectors=vectors, payload=[EVIL], remove=names)
    return folder


def test_a_terminal_shows_escapes_and_a_pipe_gets_the_text(evil):
    code = "from leafkit.cli import main; main()"
    command = [sys.executable, "-c", code, "search", str(evil), "a list"]
    ours, theirs = pty.openpty()
    subprocess.run(command, stdout=theirs, stderr=theirs, check=True)
    os.close(theirs)
    seen = b""
    while part := _read(ours):
        seen += part
    os.close(ours)
    (line,) = seen.decode().split("\r\n")[:-1]
    assert line.isprintable()
    assert r"\x1b[8m\nid \ud800" in line
    assert r"\x1b]0;owned\x07 \u202etxt.exe \x9b2J" in line


def _read(descriptor):
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other side is closed
        return b""


def test_json_is_exact(evil, run):
    code, out, _ = run("search", evil, "a list", "--json")
    (hit,) = json.loads(out)["hits"]
    assert code == 0
    assert (hit["id"], hit["title"], hit["text"]) == ("\x1b[8m\nid \ud800", EVIL["title"], EVIL["text"])
    assert out.removesuffix("\n").isprintable()


@pytest.mark.parametrize(("command", "advice"), [("update", "The index is unchanged."), ("info", "")])
def test_ctrl_c_exits_with_130_and_says_how_to_go_on(command, advice, run, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("leafkit.index.update.update_index", interrupted)
    monkeypatch.setattr("leafkit.describe.info", interrupted)
    code, out, err = run(command, tmp_path)
    assert (code, out) == (130, "")
    assert f"leafkit: interrupted. {advice}".rstrip() in err
    assert "Traceback" not in err


def test_a_log_message_that_quotes_data_is_harmless_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    record = logging.LogRecord("leafkit", logging.INFO, "", 0, "opening %s", ("\x1b[2J",), None)
    assert LogFormatter("%(message)s").format(record) == r"opening \x1b[2J"
