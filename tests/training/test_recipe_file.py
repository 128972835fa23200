"""Recipe files: the options of the command line, and errors with file, line and nearest name."""

import inspect
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import leafkit
from leafkit.errors import InputError, OptionError
from leafkit.training.recipe_file import read_recipe

RECIPES = Path(__file__).resolve().parents[2] / "models" / "recipes"

BAD = {
    "epoch = 2": "no option 'epoch'; did you mean 'epochs'",
    "learning-rate = 2": "no option 'learning-rate'; did you mean 'learning_rate'",
    "zzz = 2": "no option 'zzz'; expected one of texts, teacher,",
    'epochs = "2"': "epochs is '2'; expected a number",
    "epochs = true": "epochs is True; expected",
    "batch_size = 2.5": "batch_size is 2.5; expected a whole number",
    'texts = ["a", 3]': "texts is ['a', 3]; expected a string or a list of strings",
    "texts = []": "texts is []; expected a string or a list of strings",
    'teacher = ["a"]': "teacher is ['a']; expected a string",
    'export = "yes"': "export is 'yes'; expected true or false",
    'objective = "nrom"': "objective is 'nrom'; did you mean 'norm'",
    'head = "rigde"': "head is 'rigde'; did you mean 'ridge'",
    'role = "querry"': "role is 'querry'; did you mean 'query'",
    'store_dtype = "float8"': "store_dtype is 'float8'; did you mean 'float",
    'compute = "bfloat61"': "compute is 'bfloat61'; did you mean 'bfloat16'",
    'pooling = "men"': "pooling is 'men'; did you mean 'mean'",
    "epochs = -1": "epochs is -1; expected a number of at least 0",
    "learning_rate = 0": "learning_rate is 0; expected a number above 0",
    f"learning_rate = 1{'0' * 400}": "expected a number above 0",
    "max_length = 0": "max_length is 0; expected a whole number of at least 1",
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
        read_recipe(file)
    assert f"{file}:4: " in str(refused.value)
    assert BAD[line] in str(refused.value)


def test_a_method_written_with_an_escape_sequence_is_an_error_as_well(tmp_path):
    with pytest.raises(OptionError, match=r"recipe\.toml:1: .*leaf"):
        read_recipe(written(tmp_path, 'methods = ["le\\u0061fy"]'))


@pytest.mark.parametrize("text", ["a = ", "a = 1\na = 2\n", "epochs 2"])
def test_invalid_toml_is_an_error_with_its_line(tmp_path, text):
    with pytest.raises(InputError, match=r"recipe\.toml:\d+: the recipe is not valid TOML"):
        read_recipe(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 100_000, "the recipe is not valid TOML"),
        ("a = " + "{a = " * 20_000, "the recipe is not valid TOML"),
        ("seed = " + "9" * 10_000, "the recipe is not valid TOML"),
        ("seed = 1\nseed" + ".a" * 20_000 + " = 1", "recipe.toml:2: the line has more than 500 dots"),
        ("# " + "x" * 200_000, "larger than 131072 bytes"),
        ("seed" + ".a" * 400 + " = 1", "recipe.toml:1: seed holds a table"),
        ('out = "a\\u0000b"', "recipe.toml:1: out holds a NUL character"),
        ("\ntexts = " + "[" * 90 + "]" * 90, "recipe.toml:2: texts holds a table or a list of lists"),
    ],
)
def test_a_bomb_is_an_error_in_a_moment(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_recipe(written(tmp_path, text))


def test_a_missing_file_or_one_that_is_not_text_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read as a recipe"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(InputError, match="no such file \\(did you mean 'bge-small-leaf'"):
        read_recipe("bge-smal-leaf")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read as a recipe"):
        read_recipe(tmp_path / "bytes.toml")


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
def test_written_options_are_read_back(tmp_path_factory, options):
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in options.items()]
    assert read_recipe(written(tmp_path_factory.mktemp("recipe"), "".join(lines))) == options


def test_a_recipe_gives_the_arguments_of_distill(tmp_path, tiny_teacher):
    lines = f'texts = "a.jsonl"\nteacher = "{tiny_teacher}"\nstudent = "static"\nout = "s"\nquery_prompt = "ask: "\n'
    arguments = leafkit.read_recipe(written(tmp_path, lines))
    inspect.signature(leafkit.distill).bind(**arguments)
    assert arguments["texts"] == ["a.jsonl"]
    assert arguments["query_prompt"] == "ask: "


@pytest.mark.parametrize("file", sorted(RECIPES.iterdir()), ids=lambda file: file.name)
def test_every_shipped_recipe_begins_with_a_command_that_completes_it(file):
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(f"# leafkit distill TEXTS --recipe {file.stem} ")
    words = iter(first.split()[3:])
    typed = {"texts": [next(words)]} | {option.removeprefix("--"): value for option, value in zip(words, words)}
    assert typed.pop("recipe") == file.stem
    recipe = leafkit.read_recipe(file.stem)
    assert not typed.keys() & recipe.keys()
    inspect.signature(leafkit.distill).bind(**recipe, **typed)


@pytest.mark.parametrize(
    ("lines", "number", "why"),
    [
        (['methods = ["leaf", "sinkd:wieght=1"]'], 2, "no field 'wieght'; did you mean 'weight'"),
        (["methods = [", '  "leaf",', '  "snkd",', "]"], 4, "no method 'snkd'; did you mean 'sinkd'"),
        (['methods = ["leaf:weight=much"]'], 2, "leaf:weight is 'much'; expected a number"),
        (['methods = ["sinkd"]'], 2, "sinkd cannot train alone.*Add leaf"),
        (['feeds = ["leaf"]'], 2, "leaf is an objective, which `feeds`"),
        (["methods = [3]"], 2, "expected a list of strings"),
        (['architecture = "diswt"'], 2, "did you mean 'diswot'"),
    ],
)
def test_a_wrong_plan_is_refused_by_file_and_line(lines, number, why, tmp_path):
    recipe = tmp_path / "wrong.toml"
    recipe.write_text("\n".join(["# a recipe", *lines, 'out = "x"', ""]))
    with pytest.raises(OptionError, match=rf"wrong\.toml:{number}: .*{why}"):
        read_recipe(recipe)
