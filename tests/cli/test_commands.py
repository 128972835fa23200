"""What people see: results on stdout, one clear message and a non-zero exit for bad input, nothing half-written."""

import io
import json
import shutil
import subprocess
import sys

import pytest

import leafkit


def test_search_prints_a_table_of_hits(run, made, sentences):
    code, out, _ = run("search", made / "docs.index", sentences[7], "-k", "3")
    assert code == 0
    assert len(out.splitlines()) == 3
    assert "doc-7" in out


def test_search_as_json_has_scores_and_columns(run, made, sentences):
    _, out, _ = run("search", made / "docs.index", "--json", sentences[7], sentences[8])
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["query"] for line in lines] == [sentences[7], sentences[8]]
    for line in lines:
        assert len(line["hits"]) == 10
        assert all(-1 <= hit["score"] <= 1 and hit["text"] for hit in line["hits"])


def test_a_hybrid_search_has_cosines_and_fused_scores(run, made, sentences):
    _, out, _ = run("search", made / "docs.index", "--json", "--hybrid", "0.6", sentences[7])
    hits = json.loads(out)["hits"]
    assert [hit["fused"] for hit in hits] == sorted((hit["fused"] for hit in hits), reverse=True)
    assert all(-1 <= hit["score"] <= 1 for hit in hits)
    _, out, _ = run("search", made / "docs.index", "--hybrid", "rrf", "-k", "2", sentences[7])
    assert out.split()[1:3] == [f"{hits[0]['score']:.3f}", "0.033"]  # first in both: 2 / 61


def test_queries_come_from_a_file_or_stdin(run, made, monkeypatch, tmp_path):
    from_file = run("search", made / "docs.index", "--json", "--queries", made / "questions.txt")[1]
    monkeypatch.setattr(sys, "stdin", io.StringIO((made / "questions.txt").read_text()))
    assert run("search", made / "docs.index", "--json", "--queries", "-")[1] == from_file
    assert len(from_file.splitlines()) == 50


def test_only_allowed_ids_are_found(run, made, tmp_path):
    (tmp_path / "ids.txt").write_text("doc-3\ndoc-5\n")
    _, out, _ = run("search", made / "docs.index", "--json", "a file", "--allow", tmp_path / "ids.txt")
    assert {hit["id"] for hit in json.loads(out)["hits"]} == {"doc-3", "doc-5"}


def test_update_removes_documents_and_prints_the_number_left(run, made, tmp_path):
    index = shutil.copytree(made / "docs.index", tmp_path / "copy.index")
    (tmp_path / "old.txt").write_text("doc-1\ndoc-2\n")
    code, out, _ = run("update", index, "--remove", "doc-0", "--remove", "@old.txt")
    assert code == 0
    assert "97" in out


@pytest.mark.parametrize("thing", ["student", "docs.index", "docs.jsonl", "cache"])
def test_info_says_what_something_is(run, made, thing):
    code, out, err = run("info", made / thing)
    if thing == "docs.jsonl":
        assert (code, out) == (1, "")
        assert "leafkit" in err
    else:
        assert code == 0
        assert out.startswith("kind")


def test_info_recognises_a_collection_by_its_corpus_despite_other_files(run, tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "a list"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "list"}\n')
    (tmp_path / "more.parquet").write_bytes(b"not looked at")
    code, out, _ = run("info", tmp_path)
    assert code == 0
    assert "collection in BEIR layout" in out


def test_info_finds_a_changed_byte(run, made, tmp_path):
    index = shutil.copytree(made / "docs.index", tmp_path / "copy.index")
    file = next(index.glob("documents*.jsonl"))
    content = bytearray(file.read_bytes())
    content[10] ^= 1
    file.write_bytes(content)
    code, _, err = run("info", index)
    assert code == 1
    assert file.name in err


@pytest.mark.parametrize("name", ["onnx/model.onnx", "onnx/model_quantized.onnx", "tokenizer.json"])
def test_info_finds_a_changed_byte_in_every_exported_file(name, run, made, tmp_path):
    student = shutil.copytree(made / "student", tmp_path / "copy")
    content = bytearray((student / name).read_bytes())
    content[len(content) // 2] ^= 1
    (student / name).write_bytes(content)
    code, _, err = run("info", student)
    assert code == 1
    assert f"{name} is truncated or changed" in err


def bad_calls(made, other_teacher, tiny_teacher):
    docs, index, student = made / "docs.jsonl", made / "docs.index", made / "student"
    return {
        "a student of another teacher": (
            ["index", docs, "--teacher", other_teacher, "--student", student, "--out", "x"],
            "weights",
        ),
        "a teacher of another prompt": (
            ["index", docs, "--teacher", tiny_teacher, "--query-prompt", "", "--student", student, "--out", "x"],
            "query_prompt",
        ),
        "an output that is somebody's": (
            ["index", docs, "--teacher", tiny_teacher, "--out", "."],
            "was not written by leafkit",
        ),
        "an output that exists": (["export", student], "--overwrite"),
        "no such file": (
            ["distill", "nope.jsonl", "--teacher", tiny_teacher, "--student", "static", "--out", "x"],
            "nope",
        ),
        "an unknown student": (
            ["distill", docs, "--teacher", tiny_teacher, "--student", "teacher:layers=x", "--out", "x"],
            "A student is one of",
        ),
        "a dim too large": (["index", docs, "--teacher", tiny_teacher, "--out", "x", "--dim", "64"], "64"),
        "an unknown precision": (
            ["index", docs, "--teacher", tiny_teacher, "--out", "x", "--precision", "int3"],
            "int3",
        ),
        "an unknown role": (
            ["embed", docs, "--encoder", tiny_teacher, "--out", "x.npy", "--role", "passage"],
            "passage",
        ),
        "no query": (["search", index], "no query"),
        "a k of nothing": (["search", index, "x", "-k", "0"], "k is 0"),
        "a weight beyond one": (["search", index, "x", "--hybrid", "6"], "hybrid is 6.0; expected the weight"),
        "no index": (["search", made, "x"], "index"),
        "nothing to evaluate": (["evaluate", "--student", student], "nothing to measure on: no folder"),
        "dims that are no numbers": (
            ["evaluate", "--data", made, "--student", student, "--dims", "a"],
            "whole numbers",
        ),
        "an id that is not there twice": (["update", index, "--add", docs], "doc-0"),
        "documents to add of another prompt": (
            ["update", index, "--add", docs, "--replace", "--document-prompt", "y: "],
            "document_prompt",
        ),
        "an output below a file": (
            ["index", docs, "--teacher", tiny_teacher, "--out", docs / "x"],
            "or one of its parents is a file, not a folder",
        ),
        "a cache that is a file": (
            ["index", docs, "--teacher", tiny_teacher, "--out", "x", "--cache", docs],
            "or one of its parents is a file, not a folder",
        ),
        "a seed below zero": (
            ["evaluate", "--data", made, "--student", student, "--seed", "-1"],
            "expected a whole number of at least 0",
        ),
    }


@pytest.mark.parametrize("case", bad_calls(*[__import__("pathlib").Path()] * 3))
def test_bad_input_is_one_message_and_a_non_zero_exit(run, made, other_teacher, tiny_teacher, case, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file() and path.name != "lock"}
    arguments, message = bad_calls(made, other_teacher, tiny_teacher)[case]
    code, out, err = run(*arguments)
    assert code == 1
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert {path: path.read_bytes() for path in before} == before


def test_a_usage_error_exits_with_two(run):
    assert run("search")[0] == 2
    assert run("no-such-command")[0] == 2


def test_a_search_host_needs_neither_torch_nor_transformers(made):
    heavy = ["torch", "transformers", "sentence_transformers", "pyarrow", "mteb", "datasets", "onnx"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({heavy!r}))\n"  # importing any of them fails
        f"sys.argv = ['leafkit', 'search', {str(made / 'docs.index')!r}, 'list files']\n"
        "from leafkit.cli import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "doc-" in result.stdout


def test_missing_extras_name_their_install_command(made, tiny_teacher):
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['sentence_transformers', 'torch']))\n"
        f"docs, teacher = {str(made / 'docs.jsonl')!r}, {str(tiny_teacher)!r}\n"
        "sys.argv = ['leafkit', 'embed', docs, '--encoder', teacher, '--out', 'x.npy']\n"
        "from leafkit.cli import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "pip install 'leafkit[train]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_python_api_refuses_the_same(made, other_teacher, tmp_path):
    with pytest.raises(leafkit.LeafkitError, match=r"does not write the vectors of the student .*; expected"):
        leafkit.build_index(made / "docs.jsonl", other_teacher, tmp_path / "x", student=made / "student")


def test_an_index_of_several_students_is_built_and_searched_by_effort(run, made, tiny_teacher, table_student, tmp_path):
    code, _, error = run(
        *("index", made / "docs.jsonl", "--teacher", tiny_teacher, "--cache", made / "cache"),
        *("--student", made / "student", "--student", f"quick={table_student}", "--out", tmp_path / "ladder.index"),
    )
    assert code == 0, error
    code, out, _ = run("info", tmp_path / "ladder.index")
    assert "students     quick (table, token table), full (student, 2 layers)" in out
    answers = {}
    for effort in ("quick", "full", "teacher"):
        code, out, error = run("search", tmp_path / "ladder.index", "--effort", effort, "--json", "copy a file")
        assert code == 0, error
        answers[effort] = [hit["score"] for hit in json.loads(out)["hits"]]
    encoders = {"quick": table_student, "full": made / "student", "teacher": leafkit.open_teacher(tiny_teacher)}
    for effort, encoder in encoders.items():
        alone = leafkit.Searcher.open(made / "docs.index", encoder=encoder).search("copy a file")
        assert answers[effort] == pytest.approx(alone.scores.tolist(), abs=2e-6)
    code, _, error = run("search", tmp_path / "ladder.index", "--effort", "fast", "copy a file")
    assert (code, "expected one of quick, full" in error) == (1, True)


def test_a_shadow_run_is_a_table_json_and_a_page(run, ladder, sentences, tmp_path):
    (tmp_path / "log.txt").write_text("\n".join(["", *sentences[:4]]))
    code, out, error = run("shadow", ladder, tmp_path / "log.txt", "--html", tmp_path / "page.html", "--worst", "2")
    assert code == 0, error
    assert out.startswith("table (table) against full (student)\n4 queries (1 blank line skipped) on the 100 documents")
    assert "overlap@10 " in out
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<ol>") == 4
    code, out, _ = run("shadow", ladder, tmp_path / "log.txt", "--between", "full,table", "--json")
    assert (json.loads(out)["tried"]["effort"], json.loads(out)["queries"]) == ("full", 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.txt"], "absent.txt does not exist"),
        (["log.txt", "--between", "full"], "expected two different ones"),
        (["log.txt", "--html", "absent/page.html"], "the folder absent is missing"),
    ],
)
def test_a_shadow_run_that_cannot_be_is_one_message(run, ladder, tmp_path, arguments, said):
    (tmp_path / "log.txt").write_text("copy a file\n")
    code, out, error = run("shadow", ladder, *arguments)
    assert (code, out) == (1, "")
    assert said in error
    assert len(error.splitlines()) == 1
