from pathlib import Path

import pytest

import eval.studies
from eval.studies.table import read_table
from leafkit.errors import InputError, OptionError

FOLDER = Path(eval.studies.__file__).parent
TABLE = """
seeds = [3, 4]
[texts]
files = ["a.jsonl"]
valid = ["b.jsonl"]
queries = 10
[base]
teacher = "T"
student = "teacher:layers=3"
learning_rate = 3e-4
[measure]
data = ["scifact"]
"""


@pytest.fixture
def read(tmp_path):
    def of(text, **given):
        (tmp_path / "table.toml").write_text(text)
        return read_table(tmp_path / "table.toml", given)

    return of


def test_a_variant_is_the_base_with_its_changes(read):
    base, variant, fed = read(
        TABLE
        + """
        [variants.other]
        batch_size = 64
        texts = { queries = 0, documents = 10 }
        teacher_options = { query_prompt = "" }
        seconds = "base"
        [variants.fed]
        feeds = ["curriculum:every=5"]
        """
    ).variants
    assert (base.name, base.recipe.learning_rate, base.recipe.batch_size) == ("base", 3e-4, 32)
    assert (variant.recipe.learning_rate, variant.recipe.batch_size, variant.seconds) == (3e-4, 64, "base")
    assert (base.feeds, fed.feeds) == ((), ("curriculum:every=5",))
    assert (variant.texts.files, variant.texts.queries, variant.texts.documents) == (("a.jsonl",), 0, 10)
    assert (base.teacher_options.query_prompt, variant.teacher_options.query_prompt) == (None, "")


def test_overrides_replace_the_values_of_the_table(read):
    table = read(TABLE, teacher="U", files=["c"], valid=["d"], data=["e"], seeds=[9])
    assert (table.seeds, table.measure.data) == ((9,), ("e",))
    assert (table.variants[0].teacher, table.variants[0].texts.files) == ("U", ("c",))


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("[variants.x]\nbatchsize = 3", "x: unknown field 'batchsize'; did you mean 'batch_size'"),
        ("[variants.x]\nobjective = 3", "x: objective is 3"),
        ("[variants.x]\nbatch_size = 0", "x: batch_size is 0"),
        ("[variants.x]\nepochs = 'many'", "x: "),
        ("[variants.x]\nstudent = 'teacher:depth=3'", "x: unknown student"),
        ("[variants.x]\nkind = 'magic'", "x: kind is 'magic'; expected one of distill"),
        ("[variants.x]\nseconds = 0", "x: seconds is 0"),
        ("[variants.x.teacher_options]\nprompt = ''", "x: unknown field 'prompt'"),
        ("[variants.x]\nfeeds = ['curiculum']", "x: there is no method 'curiculum'; did you mean 'curriculum'"),
        ("[variants.x]\nfeeds = 'ddk'", "x: feeds is 'ddk'; expected a list"),
        ("[variants.x]\nfeeds = ['ddk']\nkind = 'model2vec'", "x: feeds work only with kind = 'distill'"),
        ("[variants.x]\nfeeds = ['ddk']\nseconds = 'base'", "x: feeds work only .* without seconds"),
        ("modes = ['teacher']", "mode is 'teacher'; expected standard"),
    ],
)
def test_a_bad_value_raises_an_error_that_names_the_variant(more, problem, read):
    with pytest.raises(OptionError, match=problem):
        read(TABLE + more)


def test_a_base_has_no_equal_time_and_needs_a_student(read):
    with pytest.raises(OptionError, match="base: seconds"):
        read(TABLE.replace("[measure]", 'seconds = "base"\n[measure]'))
    with pytest.raises(OptionError, match="the student is missing"):
        read(TABLE.replace('student = "teacher:layers=3"', ""))


def test_a_file_that_is_not_toml_raises_an_error(read, tmp_path):
    with pytest.raises(InputError, match=r"cannot read .* as the table of a study"):
        read("[[[")
    with pytest.raises(InputError, match=r"cannot read .* as the table of a study"):
        read_table(tmp_path / "absent.toml")


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_every_committed_table_can_be_read_and_begins_with_its_command(name):
    path = FOLDER / f"{name}.toml"
    table = read_table(path)
    assert path.read_text().startswith(f"# python -m eval.studies eval/studies/{name}.toml ")
    assert len({variant.name for variant in table.variants}) == len(table.variants) > 3
