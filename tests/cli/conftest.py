from __future__ import annotations

import json
import shutil
import sys

import pytest

import leafkit
from leafkit.cli import main


@pytest.fixture(scope="session")
def made(tmp_path_factory, tiny_teacher, exported, sentences):
    """Documents, the exported student of the tiny teacher and an index with it inside; shared, so never changed."""
    folder = tmp_path_factory.mktemp("made")
    rows = [{"_id": f"doc-{i}", "text": text} for i, text in enumerate(sentences[:100])]
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "questions.txt").write_text("\n".join(sentences[100:150]))
    options = {"student": shutil.copytree(exported, folder / "student"), "cache": folder / "cache"}
    leafkit.build_index(folder / "docs.jsonl", tiny_teacher, folder / "docs.index", **options)
    return folder


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command line in this process, in an empty folder; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["leafkit", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out, err

    return call
