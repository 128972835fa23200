"""`leafkit export` writes a student, a teacher, or both, by what it is given."""

import json

import pytest

from leafkit.onnx import teacher as of_teacher
from leafkit.runtimes import router as of_router


@pytest.fixture
def called(monkeypatch):
    """The calls of the two exports with a teacher, which are tested elsewhere."""
    calls = []
    monkeypatch.setattr(
        of_teacher, "export_teacher", lambda *given, **options: calls.append((given, options)) or "made"
    )
    monkeypatch.setattr(of_router, "export_router", lambda *given, **options: calls.append((given, options)) or "made")
    return calls


def test_the_student_alone_is_written_to_another_folder(run, made, tmp_path):
    code, out, _ = run("export", made / "student", "--no-int8", "--out", tmp_path / "out")
    assert (code, out.strip()) == (0, str(tmp_path / "out"))
    assert list(json.loads((tmp_path / "out" / "onnx" / "export.json").read_bytes())["agreement"]) == ["float32"]


def test_the_teacher_alone_gets_its_options(run, tmp_path, called):
    assert run("export", "--teacher", "t", "--out", tmp_path / "o", "--max-length", "9", "--overwrite")[:2] == (
        0,
        "made\n",
    )
    ((given, options),) = called
    assert given == ("t", tmp_path / "o")
    assert (options["max_length"], options["overwrite"]) == (9, True)
    assert "int8" not in options


def test_the_router_gets_both(run, tmp_path, called):
    assert run("export", "s", "--router", "--teacher", "t", "--out", tmp_path / "o")[0] == 0
    assert [tuple(map(str, given)) for given, _ in called] == [("s", "t", str(tmp_path / "o"))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["s", "--teacher", "t"], "--teacher does not apply to the export of a student alone; add --router"),
        (["s", "--query-prompt", "q"], "--query-prompt does not apply"),
        (["--teacher", "t"], "needs a teacher and a folder"),
        ([], "needs a teacher and a folder"),
        (["s", "--router", "--out", "o"], "--router needs a teacher"),
        (["--router", "--teacher", "t", "--out", "o"], "--router needs a student"),
        (["--teacher", "t", "--out", "o", "--no-int8"], "--int8 does not apply to an export with a teacher"),
    ],
)
def test_what_does_not_fit_together_is_refused(run, called, arguments, message):
    code, _, err = run("export", *arguments)
    assert code == 1
    assert message in err
    assert called == []
