"""Comparisons from the recipes to the result files, with a tiny teacher."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from leafkit.errors import OptionError, TrainingError
from leafkit.evaluation.bootstrap import RESAMPLES
from leafkit.evaluation.compare import run as home
from leafkit.evaluation.compare.recipes import read_entries, read_entry
from leafkit.evaluation.compare.report import check_out, table, write_results
from leafkit.evaluation.compare.run import compare
from leafkit.files.digest import sha256_file
from leafkit.vectors.golden_texts import GOLDEN
from tests.fixtures.processes import start_process


@pytest.fixture(scope="module")
def place(tmp_path_factory, data_root, recipes):
    """The arguments of a comparison of all three recipes; shared, so that finished runs are reused."""
    folder = tmp_path_factory.mktemp("compared")
    named = [recipes / f"{name}.toml" for name in ("base", "twin", "chance")]
    where = {"data_root": data_root, "work": folder / "work", "cache": folder / "cache"}
    return {"recipes": named, "seeds": 2, **where}


@pytest.fixture(scope="module")
def results(place):
    return {one["system"]: one for one in compare(**place)}


def test_the_same_recipe_under_another_name_ties(results):
    twin = results["twin"]
    assert twin["difference"] == {"mean": 0, "low": 0, "high": 0}
    assert twin["verdict"] == "ties"
    assert twin["means"]["system"] == twin["means"]["baseline"]


def test_a_random_head_loses(results):
    assert results["chance"]["verdict"] == "loses"
    assert len(set(results["chance"]["means"]["system"])) == 2


def test_a_result_records_everything_it_depends_on(results, place, tiny_texts):
    found = results["chance"]
    assert (found["baseline"], found["task"], found["seeds"]) == ("base", "retrieval", [0, 1])
    assert found["counts"] == {"seeds": 2, "items": 30, "resamples": RESAMPLES}
    assert found["recipes"]["system"]["sha256"] == sha256_file(place["recipes"][2])
    assert list(found["recipes"]["baseline"]["texts"]) == [Path(tiny_texts).name]
    assert found["teacher_calls"] == {"system": 196, "baseline": 196}
    assert found["steps"] == {"system": 0, "baseline": 0}
    assert found["seconds"]["system"] > 0
    assert found["data"]["sha256"]
    assert {"commit", "run_commits", "versions", "note", "metric", "methods"} <= set(found)
    words = shlex.split(found["command"])
    assert words[:6] == [
        "leafkit",
        "compare",
        "--recipe",
        str(place["recipes"][0]),
        "--recipe",
        found["recipes"]["system"]["path"],
    ]
    assert words[6:] == ["--task", "retrieval", "--seeds", "2"]


def test_finished_runs_are_reused_and_a_deleted_run_gives_the_same_scores(results, place, monkeypatch):
    lost = next((place["work"] / "runs").glob("chance-seed1-*"))
    before = json.loads(lost.read_text())["scores"]
    lost.unlink()
    made, distill = [], home.distill
    monkeypatch.setattr(home, "distill", lambda **given: made.append(given["seed"]) or distill(**given))
    again = compare(**place)
    assert made == [1]
    assert json.loads(lost.read_text())["scores"] == before
    assert again[1]["difference"] == results["chance"]["difference"]
    assert not list((place["work"] / "students").iterdir())


def test_two_processes_share_the_runs_that_both_need(results, place, tmp_path):
    lost = next((place["work"] / "runs").glob("base-seed0-*"))
    lost.unlink()
    given = place | {"recipes": place["recipes"][:2], "seeds": 1}
    errors = [tmp_path / name for name in "ab"]
    both = [start_process(file, compare, **given) for file in errors]
    for process in both:
        process.join(timeout=200)
    assert [process.exitcode for process in both] == [0, 0], [file.read_text() for file in errors]
    assert json.loads(lost.read_text())["seed"] == 0


def test_teacher_vectors_of_documents_are_computed_once(results, place, monkeypatch):
    from leafkit.teachers.sentence_transformer import SentenceTransformerTeacher

    next((place["work"] / "runs").glob("twin-seed0-*")).unlink()
    encode = SentenceTransformerTeacher.encode
    golden = {text for text, _ in GOLDEN}

    def encode_golden(teacher, texts, role):
        # Every student gets a fingerprint of its own, in full precision.
        assert set(texts) <= golden, "the teacher was asked again"
        return encode(teacher, texts, role)

    monkeypatch.setattr(SentenceTransformerTeacher, "encode", encode_golden)
    compare(**place)


def test_another_recipe_text_or_task_is_another_run(recipes, tmp_path):
    base = read_entries([recipes / "base.toml", recipes / "chance.toml"])[0]
    keys = {base.key({"split": "test"}), base.key({"split": "dev"})}
    source = base.arguments["texts"][0]
    text = tmp_path / "texts.jsonl"
    for added in ("", '{"text": "more"}\n'):
        text.write_text(Path(source).read_text() + added)
        (tmp_path / "base.toml").write_text((recipes / "base.toml").read_text().replace(source, str(text)))
        keys.add(read_entries([tmp_path / "base.toml", recipes / "chance.toml"])[0].key({"split": "test"}))
    assert len(keys) == 4


def test_files_with_a_role_prefix_are_hashed(recipes, tmp_path):
    source = read_entries([recipes / "base.toml", recipes / "twin.toml"])[0].arguments["texts"][0]
    (tmp_path / "asked.toml").write_text((recipes / "base.toml").read_text().replace(source, f"query:{source}"))
    entry = read_entries([tmp_path / "asked.toml", recipes / "twin.toml"])[0]
    assert list(entry.texts) == [f"query:{source}"]


def test_a_collapse_names_recipe_and_seed(place, monkeypatch, tmp_path):
    def collapse(**_):
        raise TrainingError("the vectors collapsed")

    monkeypatch.setattr(home, "distill", collapse)
    with pytest.raises(TrainingError, match="base, seed 0: the vectors collapsed"):
        compare(**(place | {"work": tmp_path}))


def test_recipes_that_cannot_be_compared_raise_an_error(recipes, tmp_path, data_root):
    with pytest.raises(OptionError, match=r"got 1 recipe\(s\); expected at least 2"):
        read_entries([recipes / "base.toml"])
    with pytest.raises(OptionError, match="two recipes are called base"):
        read_entries([recipes / "base.toml", recipes / "base.toml"])
    (tmp_path / "part.toml").write_text("epochs = 1\n")
    with pytest.raises(OptionError, match="has no texts; a recipe to compare must name its texts"):
        read_entries([recipes / "base.toml", tmp_path / "part.toml"])
    with pytest.raises(OptionError, match="seeds is 0; expected a whole number of at least 1"):
        compare([recipes / "base.toml", recipes / "twin.toml"], seeds=0, data_root=data_root)


def test_results_go_into_a_folder_under_their_names_or_into_one_file(results, tmp_path):
    both = list(results.values())
    write_results(both, tmp_path / "new" / "folder")
    assert {file.name for file in (tmp_path / "new" / "folder").iterdir()} == {"twin.json", "chance.json"}
    write_results(both[:1], tmp_path / "one.json")
    assert json.loads((tmp_path / "one.json").read_text()) == both[0]
    with pytest.raises(OptionError, match=r"all.json is one file, but 2 recipes are compared"):
        check_out(tmp_path / "all.json", 2)


def test_the_table_has_a_row_for_each_recipe(results):
    lines = table(list(results.values())).splitlines()
    assert [line.split()[1] for line in lines[2:5]] == ["base", "twin", "chance"]
    assert "| loses |" in lines[4]
    assert "tldr-commands test, 30 items, 2 seed(s)" in lines[6]


def test_dev_texts_are_removed_from_the_training_texts(data_root, tiny_teacher, tmp_path):
    texts = data_root / "banking77" / "train.jsonl"
    lines = (
        f'texts = ["{texts}"]\nrole = "query"\nteacher = "{tiny_teacher}"\nstudent = "teacher:layers=1"\nepochs = 0\n'
    )
    named = [tmp_path / "base.toml", tmp_path / "twin.toml"]
    for recipe in named:
        recipe.write_text(lines)
    where = {"task": "classes", "seeds": 1, "data_root": data_root, "work": tmp_path / "w", "cache": tmp_path / "c"}
    calls = {split: compare(named, split=split, **where)[0]["teacher_calls"]["system"] for split in ("dev", "test")}
    # Of 80 texts dev has 16. Without held-out texts, distillation keeps two for validation.
    assert calls == {"dev": 64, "test": 78}


def test_the_steps_of_all_generations_count(data_root, recipes, tmp_path):
    text = (recipes / "base.toml").read_text().replace("epochs = 0", "epochs = 1")
    (tmp_path / "once.toml").write_text(text)
    (tmp_path / "thrice.toml").write_text(text + 'methods = ["leaf", "self_distillation:generations=2"]\n')
    named = [tmp_path / "once.toml", tmp_path / "thrice.toml"]
    (found,) = compare(named, seeds=1, data_root=data_root, work=tmp_path / "w", cache=tmp_path / "c")
    assert found["steps"] == {"system": 21, "baseline": 7}


@pytest.mark.parametrize("prefix", ["", "query:", "sentences:"])
def test_the_texts_behind_a_prefix_are_hashed(tmp_path, prefix):
    docs, recipe = tmp_path / "docs.txt", tmp_path / "recipe.toml"
    docs.write_text("list the open ports\n")
    recipe.write_text(f'texts = ["{prefix}{docs}"]\nteacher = "any"\n')
    assert read_entry(recipe).texts == {f"{prefix}{docs}": sha256_file(docs)}


def test_another_text_in_a_folder_or_another_model_is_another_run(recipes, beir_folder, tiny_teacher, tmp_path):
    texts = shutil.copytree(beir_folder, tmp_path / "texts")
    teacher, student = (shutil.copytree(tiny_teacher, tmp_path / name) for name in ("teacher", "student"))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'texts = ["{texts}"]\nteacher = "{teacher}"\nquery_prompt = "find: "\nstudent = "{student}:layers=2"\n'
    )
    keys = {read_entry(recipe).key({}) for _ in range(2)}
    for file in (texts / "corpus.jsonl", teacher / "config.json", student / "config.json"):
        with open(file, "a") as end:
            end.write("\n")
        keys.add(read_entry(recipe).key({}))
    assert len(keys) == 4
