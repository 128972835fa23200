"""A wrong path, column or encoding is found in the first rows, before anything slow begins."""

import logging
import subprocess
import sys

import pytest

from leafkit.errors import TextError
from leafkit.texts import read
from leafkit.texts.options import ReadingOptions
from leafkit.texts.read import check_texts, read_texts

BAD = {
    "missing.jsonl": (None, "does not exist"),
    "column.jsonl": (b'{"txt": "a"}\n', "expected one of text"),
    "latin.txt": (b"caf\xe9\n", "expected UTF-8"),
    "header.csv": (b"id;txt\n1;a\n", "expected one of text"),
    "empty.jsonl": (b"", "the source is empty"),
    "plain.parquet": (b"PAR", "cannot read the file"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_check_raises_what_reading_would_raise(tmp_path, name):
    content, message = BAD[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    (tmp_path / "good.txt").write_text("a\n")
    with pytest.raises(TextError) as refused:
        list(read_texts([tmp_path / "good.txt", tmp_path / name]))
    with pytest.raises(TextError, match=message) as checked:
        check_texts([tmp_path / "good.txt", tmp_path / name], ReadingOptions())
    assert str(checked.value) == str(refused.value)


def test_the_check_reads_the_first_rows_only_and_logs_nothing(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "leafkit")
    monkeypatch.setattr(read, "FIRST_ROWS", 3)
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n{\n{"text": "a"}\n\xff\n')
    check_texts(tmp_path / "a.jsonl", ReadingOptions(skip_bad=True))
    check_texts(["hub:owner/name", f"query:{tmp_path / 'a.jsonl'}"], ReadingOptions(skip_bad=True))
    assert not caplog.messages
    with pytest.raises(TextError, match=r"a.jsonl:2: "):
        check_texts(tmp_path / "a.jsonl", ReadingOptions())


COMMANDS = """
import sys
sys.modules.update(dict.fromkeys(["torch", "transformers", "sentence_transformers", "datasets"]))
from leafkit.cli import main
good, *names = sys.argv[1:]
for name in names:
    for command in (
        ["embed", name, "--encoder", "no-model", "--out", "x.npy"],
        ["index", name, "--teacher", "no-model", "--out", "x"],
        ["distill", name, "--teacher", "no-model", "--student", "static", "--out", "x"],
        ["distill", good, "--valid", name, "--teacher", "no-model", "--student", "static", "--out", "x"],
    ):
        sys.argv = ["leafkit", *command]
        try:
            main()
        except SystemExit as stopped:
            print(stopped.code, flush=True)
"""


def test_commands_find_it_before_torch_is_imported_and_a_teacher_is_opened(tmp_path):
    (tmp_path / "good.txt").write_text("a\n")
    for name, (content, _) in BAD.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-c", COMMANDS, "good.txt", *BAD]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"] * 4 * len(BAD)
    for lines in zip(*[iter(done.stderr.splitlines())] * 4):
        assert len(set(lines)) == 1
    assert all(message in done.stderr for _, message in BAD.values())
