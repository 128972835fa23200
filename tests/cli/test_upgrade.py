"""leafkit upgrade as typed: a table, JSON, and errors in one message."""

import json

import pytest

from tests.evaluation.upgrade.spaces import drawn, texts_of, write_old


@pytest.fixture
def spaces(tmp_path):
    """Old and new vectors of the same texts, each in a file of another tool."""
    write_old(tmp_path / "old.npy", texts_of(120), drawn(120))
    write_old(tmp_path / "new.npy", texts_of(120), drawn(120, 24, seed=5))
    return tmp_path


def test_the_ways_are_a_table_or_json(run, spaces):
    code, out, _ = run("upgrade", "--from", spaces / "old.npy", "--to", spaces / "new.npy")
    assert code == 0
    assert "re-embedding" in out
    assert "take: re-embedding, because no cheaper way keeps 70% of the old ten best hits" in out
    assert "the time to embed and to encode a query: the new vectors come from a file" in out
    code, out, _ = run(
        "upgrade", "--from", spaces / "old.npy", "--to", spaces / "new.npy", "--overlap", "0.01", "--json"
    )
    report = json.loads(out)
    assert (code, report["verdict"]["way"], report["counts"]["probes"]) == (0, "bridged queries", 120)
    assert "upgrade --from" in report["provenance"]["command"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "old.npy", "--to", "old.npy"], "so there is nothing to upgrade"),
        (["--from", "none.npy", "--to", "new.npy"], "none.npy is neither an index nor a vectors file"),
        (["--from", "old.npy", "--to", "new.npy", "--train", "static"], "--train is given without --out"),
        (["--from", "old.npy", "--to", "new.npy", "--student", "nobody"], "nobody holds no student"),
        (["--from", "old.npy", "--to", "new.npy", "--documents", "50"], "there are 50 texts to fit a bridge"),
    ],
)
def test_what_cannot_be_is_one_message(run, spaces, arguments, said):
    code, out, error = run("upgrade", *arguments)
    assert (code, out) == (1, "")
    assert said in error
    assert "Traceback" not in error
