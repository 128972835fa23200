"""A recipe file says what the command line says, or is refused by file, line and nearest name."""

import inspect
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import leafkit
from leafkit.errors import InputError, OptionError
from leafkit.training.recipe_file import read_options

RECIPES = Path(__file__).resolve().parents[2] / "models" / "recipes"

BAD = {
    "epoch = 2": "no option 'epoch'; did you mean 'epochs'",
    "learning-rate = 2": "no option 'learning-rate'; did you mean 'learning_rate'",
    "zzz = 2": "no option 'zzz'; expected one of texts, teacher,",
    'epochs = "2"': "epochs is '2'; wanted a number",
    "epochs = true": "epochs is True; wanted",
    "batch_size = 2.5": "batch_size is 2.5; wanted a whole number",
    'texts = ["a", 3]': "texts is ['a', 3]; wanted a string or a list of strings",
    "texts = []": "texts is []; wanted a string or a list of strings",
    'teacher = ["a"]': "teacher is ['a']; wanted a string",
    'export = "yes"': "export is 'yes'; wanted true or false",
    'objective = "nrom"': "objective is 'nrom'; did you mean 'norm'",
    'head = "rigde"': "head is 'rigde'; did you mean 'ridge'",
    'role = "querry"': "role is 'querry'; did you mean 'query'",
    'store_dtype = "float8"': "store_dtype is 'float8'; did you mean 'float",
    'compute = "bfloat61"': "compute is 'bfloat61'; did you mean 'bfloat16'",
    'pooling = "men"': "pooling is 'men'; did you mean 'mean'",
    "epochs = -1": "epochs is -1; wanted 0 or more",
    "learning_rate = 0": "learning_rate is 0; wanted more than 0",
    "max_length = 0": "max_length is 0; wanted 1 or more",
    "[training]": "no option 'training'",
}


def written(folder, text):
    file = folder / "recipe.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("line", BAD)
def test_a_bad_field_is_named_with_its_line_and_the_nearest_name(tmp_path, line):
    file = written(tmp_path, f"# a comment about epochs\nseed = 1\n\n{line}\n")
    with pytest.raises(OptionError) as refused:
        read_options(file)
    assert f"{file}:4: " in str(refused.value)
    assert BAD[line] in str(refused.value)


@pytest.mark.parametrize("text", ["a = ", "a = 1\na = 2\n", "epochs 2"])
def test_what_is_no_toml_is_named_with_its_line(tmp_path, text):
    with pytest.raises(InputError, match=r"recipe\.toml:\d+: this is not TOML"):
        read_options(written(tmp_path, text))


def test_a_file_that_is_not_there_or_not_text_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read as a recipe"):
        read_options(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read as a recipe"):
        read_options(tmp_path / "bytes.toml")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "epochs": st.floats(0, 9),
            "seed": st.integers(0, 99),
            "texts": st.lists(st.text('aé"\\\n.', min_size=1), min_size=1),
            "teacher": st.text("abc/\"'-. ", min_size=1),
            "query_prompt": st.text('ab :\t"\\', min_size=0),
            "export": st.booleans(),
        },
    )
)
def test_what_is_written_is_what_is_read(tmp_path_factory, options):
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in options.items()]
    assert read_options(written(tmp_path_factory.mktemp("recipe"), "".join(lines))) == options


def test_a_recipe_gives_the_arguments_of_distill(tmp_path, tiny_teacher):
    lines = f'texts = "a.jsonl"\nteacher = "{tiny_teacher}"\nstudent = "static"\nout = "s"\nquery_prompt = "ask: "\n'
    arguments = leafkit.read_recipe(written(tmp_path, lines))
    inspect.signature(leafkit.distill).bind(**arguments)
    assert arguments["texts"] == ["a.jsonl"]
    assert arguments["teacher"]().space.query_prompt == "ask: "


@pytest.mark.parametrize("file", sorted(RECIPES.iterdir()), ids=lambda file: file.name)
def test_every_recipe_that_ships_is_complete_and_begins_with_its_command(file):
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# leafkit distill --recipe models/recipes/{file.name}"
    inspect.signature(leafkit.distill).bind(**leafkit.read_recipe(file))


@pytest.mark.parametrize(
    ("lines", "number", "why"),
    [
        (['methods = ["leaf", "sinkd:wieght=1"]'], 2, "no field 'wieght'; did you mean 'weight'"),
        (["methods = [", '  "leaf",', '  "snkd",', "]"], 4, "no method 'snkd'; did you mean 'sinkd'"),
        (['methods = ["leaf:weight=much"]'], 2, "wanted a number"),
        (['methods = ["sinkd"]'], 2, "add leaf"),
        (['feeds = ["leaf"]'], 2, "feeds nothing"),
        (["methods = [3]"], 2, "wanted a list of strings"),
        (['architecture = "diswt"'], 2, "did you mean 'diswot'"),
    ],
)
def test_a_wrong_plan_is_refused_by_file_and_line(lines, number, why, tmp_path):
    recipe = tmp_path / "wrong.toml"
    recipe.write_text("\n".join(["# a recipe", *lines, 'out = "x"', ""]))
    with pytest.raises(OptionError, match=rf"wrong\.toml:{number}: .*{why}"):
        read_options(recipe)
