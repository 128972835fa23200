"""A command that is refused leaves no file and no folder."""

from __future__ import annotations

import pytest

from leafkit.cli import main

COMMANDS = {
    "embed: unreadable text": ["embed", "BAD", "--encoder", "TEACHER", "--out", "new/deep/vectors.parquet"],
    "embed: no such texts": ["embed", "absent.jsonl", "--encoder", "TEACHER", "--out", "new/vectors.npy"],
    "index: unreadable text": ["index", "BAD", "--teacher", "TEACHER", "--out", "new/docs.index"],
    "index: no such student": ["index", "GOOD", "--teacher", "TEACHER", "--out", "new/docs.index", "--student", "no"],
    "distill: no such student": ["distill", "GOOD", "--teacher", "TEACHER", "--student", "no", "--out", "new/student"],
    "distill: too many layers": [
        *("distill", "GOOD", "--teacher", "TEACHER", "--student", "teacher:layers=9", "--out", "new/student")
    ],
    "export: no student": ["export", "TEACHER", "--out", "new/export"],
    "evaluate: no data": ["evaluate", "--data", "absent", "--teacher", "TEACHER", "--report", "report.html"],
    "compare: no recipe": ["compare", "--recipe", "no", "--recipe", "nor", "--task", "x", "--data-root", "absent"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_refused_command_leaves_nothing(name, tmp_path, monkeypatch, tiny_teacher, tiny_texts):
    work, given = tmp_path / "work", tmp_path / "given"
    work.mkdir()
    given.mkdir()
    (given / "bad.jsonl").write_text(tiny_texts.read_text() + "no JSON\n")
    words = {"BAD": str(given / "bad.jsonl"), "GOOD": str(tiny_texts), "TEACHER": str(tiny_teacher)}
    monkeypatch.chdir(work)
    monkeypatch.setenv("LEAFKIT_CACHE", str(work / "cache"))
    monkeypatch.setattr("sys.argv", ["leafkit", *(words.get(word, word) for word in COMMANDS[name])])
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code == 1
    assert [str(path.relative_to(work)) for path in work.rglob("*")] == []
