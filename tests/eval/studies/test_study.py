"""Studies from the table to the report, with a tiny teacher."""

import dataclasses
import json
import math
import shlex

import pytest

from eval.studies import study as home
from eval.studies.__main__ import main
from eval.studies.figures import Benchmark, measure_student
from eval.studies.study import TableStudy
from eval.studies.table import read_table
from leafkit.errors import OptionError
from leafkit.students.encoder import StudentEncoder
from leafkit.teachers.open import open_teacher
from leafkit.teachers.options import TeacherOptions
from leafkit.training.distill import distill
from tests.fixtures.students import new_student


@pytest.fixture(scope="module")
def done(table, tmp_path_factory):
    """The folder in which the table was run, with its report; shared, so never changed."""
    folder = tmp_path_factory.mktemp("done")
    main([str(table), "--out", str(folder / "report.json"), "--cache", str(folder / "cache")])
    return folder


@pytest.fixture(scope="module")
def report(done):
    return json.loads((done / "report.json").read_text())


def test_two_equal_variants_have_a_difference_of_zero(report):
    twin = report["variants"]["twin"]
    assert all(one["mean"] == one["low"] == one["high"] == 0 for one in twin["against base"].values())
    assert {one["verdict"] for one in twin["against base"].values()} == {"undecided"}


def test_the_cosine_in_the_other_role_is_that_of_texts_with_their_roles_swapped(tiny_teacher, tmp_path):
    teacher = open_teacher(tiny_teacher, compute="float32")
    encoder = StudentEncoder(new_student("teacher:layers=1", teacher, tiny_teacher), teacher.space)
    texts = ["list files", "copy a disk", "stop the server"]
    found = {}
    for name, roles in (("one", ("query", "document")), ("other", ("document", "query"))):
        rows = [{"text": text, "role": roles[i % 2]} for i, text in enumerate(texts)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        benchmark = Benchmark(collections=[], modes=[])
        found[name] = measure_student(encoder, teacher, tmp_path / f"{name}.jsonl", benchmark)
    assert found["one"]["cosine other role"] == pytest.approx(found["other"]["cosine"], abs=1e-6)
    assert found["one"]["cosine other role"] != pytest.approx(found["one"]["cosine"], abs=1e-4)


def test_an_undistilled_random_head_is_worse(report):
    assert report["variants"]["undistilled"]["against base"]["cosine"]["mean"] < -0.1


def test_figures_agree_with_evaluate_and_with_the_validation_of_the_student(report, table, done, beir_folder, tmp_path):
    from leafkit.evaluation.evaluate import evaluate

    run = report["variants"]["base"]["runs"][0]
    variant = read_table(table).variants[0]
    texts = done / "report.work"
    facts = distill(
        next(texts.glob("texts-*")),
        variant.teacher,
        variant.student,
        tmp_path / "student",
        valid=next(texts.glob("valid-*")),
        export=False,
        **run["recipe"],
    )
    assert run["figures"]["cosine"] == pytest.approx(facts.training["best"]["cosine_mean"], abs=1e-5)
    halves = [run["figures"][f"cosine {role}"] for role in ("query", "document")]
    assert run["figures"]["cosine"] == pytest.approx(sum(halves) / 2)
    rows = evaluate(beir_folder, teacher=variant.teacher, student=facts.path, cache=done / "cache").rows
    for row in rows[1:]:
        assert run["figures"][f"nDCG@10 {row.mode} tiny"] == pytest.approx(row.metrics["ndcg@10"], abs=1e-6)
    assert [point["step"] for point in run["curve"]] == [entry["step"] for entry in facts.training["history"]]
    assert run["curve"][-1]["examples"] == 3 * 120
    assert run["seconds"] == run["curve"][-1]["seconds"] > 0


def test_a_variant_with_the_seconds_of_the_base_trains_other_epochs(report):
    for run in report["variants"]["as-long"]["runs"]:
        assert run["recipe"]["epochs"] != 3
        assert run["steps"] == math.ceil(run["recipe"]["epochs"] * 8)


def test_a_feed_chooses_what_is_trained_on(report):
    fed = report["variants"]["fed"]
    assert fed["command"].endswith("--feed curriculum:every=2,initial=0.1 --no-export --out fed")
    curves = [variant["runs"][0]["curve"] for variant in (report["variants"]["base"], fed)]
    assert [one[0]["cosine"] for one in curves] == [curves[0][0]["cosine"]] * 2
    assert curves[0][-1]["cosine"] != curves[1][-1]["cosine"]


def test_the_rival_trainer_has_the_same_start_and_learns(report):
    figures = report["variants"]["rival"]["figures"]
    assert figures["cosine"]["mean"] > report["variants"]["undistilled"]["figures"]["cosine"]["mean"]
    assert figures["seconds"]["mean"] > 0


def test_a_collapsed_training_is_a_result_and_the_others_go_on(report):
    assert all("collapsed" in run["failed"] for run in report["variants"]["wild"]["runs"])
    assert report["variants"]["wild"]["figures"] == {}


def test_the_report_records_commands_data_and_versions(report, done):
    assert {"command", "commit", "packages", "processor", "seeds", "data", "table"} <= set(report)
    assert report["data"][0]["sha256"]
    assert report["variants"]["base"]["texts"]["train"]["sha256"]
    words = shlex.split(report["variants"]["undistilled"]["command"])
    assert words[:2] == ["leafkit", "distill"]
    assert words[words.index("--epochs") + 1] == "0"
    assert words[words.index("--head") + 1] == "random"
    assert not list((done / "report.work" / "students").iterdir())


def test_finished_runs_are_reused_and_a_deleted_run_gives_the_same_figures(done, table, monkeypatch, capsys):
    arguments = [str(table), "--out", str(done / "again.json"), "--cache", str(done / "cache")]
    arguments += ["--work", str(done / "report.work"), "--only", "twin"]
    lost = next((done / "report.work" / "runs").glob("twin-seed1-*"))
    before = json.loads(lost.read_text())["figures"]
    lost.unlink()
    made, train = [], home.train_student
    monkeypatch.setattr(home, "train_student", lambda job: made.append(job.variant.name) or train(job))
    main(arguments)
    assert made == ["twin"]
    assert json.loads(lost.read_text())["figures"] == before
    out, _ = capsys.readouterr()
    assert out.startswith("| variant |")
    assert "| twin |" in out
    assert "wild" not in out


def test_another_recipe_is_another_result(done, table):
    asked = read_table(table)
    study = TableStudy.of(asked, work=done / "report.work", cache=done / "cache")
    base = asked.variants[0]
    known = {path.name for path in (done / "report.work" / "runs").iterdir()}
    others = [
        dataclasses.replace(base, recipe=asked.variants[-1].recipe),
        dataclasses.replace(base, seconds="base"),
        dataclasses.replace(base, feeds=("curriculum",)),
        dataclasses.replace(base, texts=dataclasses.replace(base.texts, queries=3)),
        dataclasses.replace(base, teacher_options=TeacherOptions(query_prompt="")),
    ]
    names = [study.run_name(variant, 0) for variant in (base, *others)]
    assert len(set(names)) == len(others) + 1
    assert [f"{name}.json" in known for name in names] == [True] + len(others) * [False]


def test_an_unknown_variant_raises_an_error_with_the_known_names(table, tmp_path, capsys):
    with pytest.raises(SystemExit, match="1"):
        main([str(table), "--out", str(tmp_path / "x.json"), "--only", "other"])
    assert "no variant 'other'; expected one of base, twin" in capsys.readouterr().err


def test_an_option_that_a_rival_does_not_support_raises_an_error(table, tmp_path):
    table.with_name("bad.toml").write_text(
        table.read_text().replace("[variants.wild]", "[variants.wild]\ncycles = 2\n" + 'kind = "sentence-transformers"')
    )
    study = TableStudy.of(read_table(table.with_name("bad.toml")), work=tmp_path / "work", cache=tmp_path / "cache")
    with pytest.raises(OptionError, match="wild: the sentence-transformers trainer supports only objective = 'norm'"):
        study.run(study.chosen(["wild"]))


def test_model2vec_has_a_space_of_its_own_and_runs_once(table, tmp_path):
    pytest.importorskip("model2vec")
    pytest.importorskip("skeletoken")
    table.with_name("static.toml").write_text(table.read_text() + '[variants.model2vec]\nkind = "model2vec"\n')
    study = TableStudy.of(read_table(table.with_name("static.toml")), work=tmp_path / "work", cache=tmp_path / "cache")
    results = study.run(study.chosen(["model2vec"]))["model2vec"]
    assert [result["seed"] for result in results] == [0, 1]
    assert set(results[0]["figures"]) == {"nDCG@10 standard tiny", "nDCG@10 standard mean"}
    assert results[0]["figures"] == results[1]["figures"]
