"""The command: several folders in one index, a table on stdout, and a result file."""

import json

import pytest

from eval.search_effort.__main__ import main


@pytest.fixture
def arguments(beir_folder, other_beir_folder, tiny_teacher, exported, tmp_path):
    data = [str(beir_folder), str(other_beir_folder)]
    options = ["--teacher", str(tiny_teacher), "--student", str(exported), "--builds", "1", "--queries", "20"]
    return ["--data", *data, *options, "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "result.json")]


def test_the_file_has_everything_and_the_table_the_required_depths(arguments, tmp_path, capsys):
    main(arguments)
    found = json.loads((tmp_path / "result.json").read_bytes())
    assert (found["documents"], found["queries"]) == (240, 29)
    assert [row["name"] for row in found["data"]] == ["tiny", "other"]
    for name in ("command", "commit", "leafkit", "packages", "seed", "student", "teacher"):
        assert name in found
    graph, lists = found["indexes"]
    assert (graph["index"], lists["index"]) == ("HNSW32", "IVF64")
    assert [curve["queries"] for curve in graph["curves"]] == ["teacher", "student"]
    assert lists["curves"][0]["recall"][-1] == lists["curves"][1]["recall"][-1] == 1
    assert [need["target"] for need in lists["needs"]] == [0.95, 0.99]
    out = capsys.readouterr().out
    assert "240 documents, 29 queries" in out
    assert f"{lists['needs'][0]['ratio']:.2f} [" in out


def test_printed_json_equals_the_file_and_is_reproducible(arguments, tmp_path, capsys):
    main([*arguments, "--json"])
    first = json.loads(capsys.readouterr().out)
    assert first == json.loads((tmp_path / "result.json").read_bytes())
    main([*arguments, "--json"])
    assert json.loads(capsys.readouterr().out)["indexes"] == first["indexes"]


def test_larger_folders_are_reduced_to_their_judged_documents_first(arguments, tmp_path):
    main([*arguments, "--documents", "60"])
    found = json.loads((tmp_path / "result.json").read_bytes())
    assert [row["documents"] for row in found["data"]] == [60, 40]


def test_a_student_of_another_space_is_one_message(arguments, other_teacher, capsys):
    arguments[arguments.index("--teacher") + 1] = str(other_teacher)
    with pytest.raises(SystemExit, match="1"):
        main(arguments)
    assert "does not belong to the vector space of the teacher" in capsys.readouterr().err


def test_another_prompt_than_the_students_is_one_message(arguments, capsys):
    with pytest.raises(SystemExit, match="1"):
        main([*arguments, "--query-prompt", "another: "])
    assert "query_prompt" in capsys.readouterr().err
