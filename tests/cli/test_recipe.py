"""--recipe: a recipe gives any argument, required or not, and the command line overrides it."""

import json

import pytest

import leafkit


@pytest.fixture
def recipe(made, tiny_teacher, tmp_path):
    file = tmp_path / "recipe.toml"
    options = {
        "texts": [str(made / "docs.jsonl"), f"query:{made / 'questions.txt'}"],
        "teacher": str(tiny_teacher),
        "student": "teacher:layers=2",
        "out": "from-recipe",
        "epochs": 0,
        "seed": 3,
        "export": False,
        "cache": str(made / "cache"),
        "query_prompt": "ask: ",
    }
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in options.items()))
    return file


def facts(folder):
    return json.loads((folder / "leafkit.json").read_bytes())


def test_a_recipe_alone_is_enough(run, recipe, tiny_teacher, tmp_path, caplog):
    code, out, err = run("distill", "--recipe", recipe)
    assert (code, out.strip()) == (0, "from-recipe"), err
    assert "held-out texts are too few to judge the student, 200 needed" in caplog.text
    assert "leafkit export from-recipe\n" in caplog.text
    assert (
        f"--teacher {tiny_teacher} --query-prompt 'ask: ' --student from-recipe --out from-recipe.index\n"
        in caplog.text
    )
    student = facts(tmp_path / "from-recipe")
    assert student["training"]["recipe"]["seed"] == 3
    assert student["space"]["query_prompt"] == "ask: "
    assert {row["role"] for row in student["training"]["data"]["counts"]} == {"document", "query"}
    assert not (tmp_path / "from-recipe" / "onnx").exists()


def test_the_command_line_overrides_the_recipe(run, recipe, made, tmp_path):
    options = ("--seed", "5", "--query-prompt", "find: ", "--out", "given")
    code, _, err = run("distill", made / "docs.jsonl", *options, "--recipe", recipe)
    assert code == 0, err
    student = facts(tmp_path / "given")
    assert student["training"]["recipe"]["seed"] == 5
    assert student["space"]["query_prompt"] == "find: "
    assert {row["role"] for row in student["training"]["data"]["counts"]} == {"document"}


def test_the_command_and_the_function_make_the_same_student(run, recipe, tmp_path):
    assert run("distill", "--recipe", recipe)[0] == 0
    arguments = leafkit.read_recipe(recipe) | {"out": tmp_path / "by-function"}
    assert leafkit.distill(**arguments).weights == leafkit.students.folder.read_student("from-recipe").weights


def test_a_bad_recipe_is_one_message_before_any_work(run, recipe):
    with recipe.open("a") as file:
        file.write("epocs = 3\n")
    code, out, err = run("distill", "--recipe", recipe)
    assert (code, out) == (1, "")
    assert "recipe.toml:10: leafkit distill has no option 'epocs'; did you mean 'epochs'?" in err


def test_an_argument_missing_from_the_recipe_is_still_required(run, recipe):
    recipe.write_text("epochs = 0\n")
    code, _, err = run("distill", "--recipe", recipe)
    assert code == 2
    assert "Missing" in err
