"""The measurement of many documents: every stage runs, exact search has full recall, and the projection adds up."""

import json

import pytest

from eval.scale import paper
from eval.scale.__main__ import main
from eval.scale.texts import write_queries, write_sentences
from leafkit.errors import OptionError, TextError

FOUND = {
    "rows": 1000,
    "factory": "IVF128,Flat",
    "embed": {"shards": 2, "cpu_seconds": 24.0, "bytes": 500},
    "teacher": {"model": "bge", "texts": 10, "cpu_seconds": 1.0},
    "index": {"cpu_seconds": 10.0, "bytes": 2000},
    "parts": {
        "survey_seconds": 2.0, "train_seconds": 1.0, "trained_on": 500, "add_seconds": 1.0, "added": 250,
    },
}  # fmt: skip


def test_ten_million_documents_are_the_measured_parts_times_what_they_depend_on():
    projected = paper.project(FOUND, rows=10_000_000, machines=4)
    student, teacher, index = projected["stages"]
    times, lists = 10_000, 16384 / 128
    assert (student["one_machine_seconds"], student["bytes"]) == ((2 + 20) * times, 500 * times)
    assert student["many_machines_seconds"] == (2 + 20 / 4) * times
    assert student["many_machines_usd"] == pytest.approx((4 * 2 + 20) * times / 3600 * 0.05, abs=0.01)
    assert teacher["one_machine_seconds"] == 2 * times + 1_000_000
    # Training: 1,000 rows took 2 s. Adding: 1,000 rows took 4 s, and all else the remaining 4 s.
    assert index["one_machine_seconds"] == round(2 / 1000 * 262_144 * lists + 4 * times * lists + 4 * times)
    assert index["many_machines_seconds"] == index["one_machine_seconds"]
    assert paper.table(projected).count("\n") == 4
    with pytest.raises(OptionError, match="the factory HNSW32,Flat has no inverted lists"):
        paper.project({**FOUND, "factory": "HNSW32,Flat"})


def test_sentences_are_distinct_and_too_few_are_an_error(tmp_path):
    texts = tmp_path / "texts.jsonl"
    one, two = "This sentence is long enough.", "Another one that is long enough."
    rows = [{"text": f"{one} {two} Short. {one}", "source": "a"}, {"text": f"what\n{two}", "role": "query"}]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_sentences([str(texts)], [(tmp_path / "a.jsonl", 1), (tmp_path / "b.jsonl", 1)])
    written = [json.loads((tmp_path / name).read_text()) for name in ("a.jsonl", "b.jsonl")]
    assert written == [{"id": "s0", "text": one, "source": "a"}, {"id": "s1", "text": two, "source": "a"}]
    write_queries([str(texts)], tmp_path / "q.txt", 1)
    assert (tmp_path / "q.txt").read_text() == f"what {two}\n"
    with pytest.raises(TextError, match=r"only 2 sentences are left for a\.jsonl; expected 3"):
        write_sentences([str(texts)], [(tmp_path / "a.jsonl", 3)])
    with pytest.raises(TextError, match="the sources have 1 queries; expected 2"):
        write_queries([str(texts)], tmp_path / "q.txt", 2)


@pytest.mark.slow
def test_every_stage_runs_and_exact_search_has_full_recall(tmp_path, capsys):
    texts = tmp_path / "texts.jsonl"
    rows = [{"text": f"The file number {i} can be copied to another machine."} for i in range(700)]
    rows += [{"text": f"how do I copy file {i}", "role": "query"} for i in range(5)]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"rows": 600, "asked": 5, "shards": 2, "factory": "IVF8", "work": tmp_path / "work"}
    words = [word for name, value in options.items() for word in (f"--{name}", f"{value}")]
    main(["--texts", str(texts), "--queries", str(texts), *words, "--out", str(tmp_path / "out.json")])
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["search"]["recall@10"] == found["search_after"]["recall@10"] == 1
    assert (found["exact"]["rows"], found["exact_after"]["rows"], found["update"]["rows"]) == (600, 606, 6)
    assert min(found[stage]["peak_mib"] for stage in ("embed", "index", "update")) > 10
    assert "| index |" in capsys.readouterr().out
