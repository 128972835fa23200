"""The benchmark of filtered searches: exact search has full recall, and the file says what was measured."""

import json

import numpy

from eval.filtered_search import SHARES, main
from tests.fixtures.packages import SPACE


def test_an_exact_index_has_full_recall_at_every_share(tmp_path, capsys):
    vectors = numpy.random.default_rng(0).standard_normal((1_200, SPACE.dim)).astype(numpy.float32)
    numpy.save(tmp_path / "vectors.npy", vectors)
    out = tmp_path / "found.json"
    main(
        [
            "--vectors",
            f"{tmp_path / 'vectors.npy'}",
            "--rows",
            "1100",
            "--factories",
            "Flat",
            "--queries",
            "3",
            "--out",
            f"{out}",
        ]
    )
    found = json.loads(out.read_text())
    assert [(row["filter"], row["share"]) for row in found["measured"]] == [
        (kind, share) for kind in ("random", "related") for share in SHARES
    ]
    assert all(row["recall"] == row["worst"] == 1 for row in found["measured"])
    assert (found["vectors"]["rows"], found["queries"], found["seed"]) == (1100, 3, 0)
    assert capsys.readouterr().out.count("| Flat |") == 2 * len(SHARES)
