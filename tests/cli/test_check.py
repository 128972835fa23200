"""The table of `leafkit check`, and its exit code."""

import json

import pytest

from leafkit.errors import InputError
from leafkit.runtimes import check, installed


@pytest.fixture
def only_onnxruntime(monkeypatch):
    """One runtime only: the others are tested elsewhere."""
    monkeypatch.setattr(check, "_runtimes", lambda golden, options: [installed.Onnxruntime("float32")])


@pytest.mark.usefixtures("only_onnxruntime")
def test_agreement_is_a_table_and_exit_code_0(run, made):
    code, out, err = run("check", made / "student")
    head, row = out.splitlines()
    assert (code, err) == (0, "")
    assert head.split()[0] == "runtime"
    assert "onnx/model.onnx" in row
    assert "1.00000" in row
    assert row.endswith("agrees")


@pytest.mark.usefixtures("only_onnxruntime")
def test_a_runtime_that_fails_gives_exit_code_1_after_the_table(run, made, monkeypatch):
    def fail(self, golden):
        raise InputError("out of order.")

    monkeypatch.setattr(installed.Onnxruntime, "encode", fail)
    code, out, err = run("check", made / "student", "--json")
    (row,) = json.loads(out)
    assert code == 1
    assert (row["result"], row["note"]) == ("failed", "out of order.")
    assert "1 of 1 runtimes do not give the vectors of" in err
    assert "failed: out of order." in run("check", made / "student")[1]
