"""Broken student folders and student arguments: each raises an error that says what is wrong and what to do."""

import json
import shutil

import pytest

from leafkit.describe import info
from leafkit.errors import DamageError, InputError
from leafkit.files.digest import sha256_file
from leafkit.search.query_encoder import QueryEncoder
from leafkit.students.encoder import StudentEncoder, open_student
from leafkit.students.folder import read_student, write_student
from leafkit.students.spec import parse_student
from leafkit.teachers.open import open_teacher
from tests.fixtures.students import new_student


@pytest.fixture(scope="module")
def whole(tiny_teacher, tmp_path_factory):
    teacher = open_teacher(tiny_teacher, compute="float32")
    made = new_student("teacher:layers=1", teacher, tiny_teacher)
    return write_student(tmp_path_factory.mktemp("whole") / "student", made, teacher.space, {"recipe": {}}).path


@pytest.fixture
def student(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "student")
    return tmp_path / "student"


def edit(student, change):
    file = student / "leafkit.json"
    facts = json.loads(file.read_text())
    change(facts)
    file.write_text(json.dumps(facts))


@pytest.mark.parametrize("name", ["model.safetensors", "2_Dense/model.safetensors"])
def test_missing_truncated_and_changed_weights_are_named(name, student):
    file = student / name
    whole = file.read_bytes()
    changed = whole[:-1] + bytes([whole[-1] ^ 1])
    for content in (whole[:100], b"", changed):
        file.write_bytes(content)
        with pytest.raises(DamageError, match=f"{name} is truncated or changed"):
            open_student(student)
    file.unlink()
    with pytest.raises(DamageError, match=f"{name} is missing"):
        open_student(student)


def test_modules_whose_widths_do_not_fit_are_damage_when_the_student_is_opened(student):
    """A mean and a maximum are twice as wide as what the head takes."""
    file = student / "1_Pooling" / "config.json"
    pooling = json.loads(file.read_text())
    pooling.pop("pooling_mode", None)
    file.write_text(json.dumps({**pooling, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}))
    with pytest.raises(DamageError, match="cannot be loaded"):
        StudentEncoder.open(read_student(student))


def test_an_edited_space_raises_because_its_id_differs(student):
    edit(student, lambda facts: facts["space"].update(query_prompt="another: "))
    with pytest.raises(DamageError, match="records the space id"):
        read_student(student)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.pop("space"),
        lambda facts: facts.pop("files"),
        lambda facts: facts.update(files=[1, 2]),
        lambda facts: facts.update(space="none"),
        lambda facts: facts.update(head_width="wide"),
        lambda facts: facts.update(version=99),
        lambda facts: facts.update(format="leafkit-index"),
        lambda facts: facts.update(training=None),
    ],
)
def test_a_leafkit_json_with_a_missing_or_wrong_field_raises(change, student):
    edit(student, change)
    with pytest.raises(DamageError, match=r"leafkit\.json"):
        read_student(student)


def test_an_invalid_history_of_training_is_damage(student):
    edit(student, lambda facts: facts.update(training={"start": 5}))
    with pytest.raises(DamageError, match=r"leafkit\.json is not a description of a student"):
        info(student)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": 3}'])
def test_a_leafkit_json_that_is_not_a_description_raises(content, student):
    (student / "leafkit.json").write_bytes(content)
    with pytest.raises(DamageError):
        read_student(student)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "modules.json"])
def test_a_broken_model_file_raises_damage(name, student):
    (student / name).write_text("{")
    with pytest.raises(DamageError, match=rf"{name} is truncated or changed"):
        open_student(student)
    edit(student, lambda facts: facts["files"].update({name: sha256_file(student / name)}))
    with pytest.raises(DamageError, match=rf"cannot be loaded|{name} is not the (modules|settings) of a student"):
        open_student(student)


def test_a_folder_without_a_student_raises_an_input_error(tmp_path):
    with pytest.raises(InputError, match="holds no student"):
        read_student(tmp_path)


@pytest.mark.parametrize("text", ["fresh:MISSING", "MISSING", "MISSING:layers=2", "static:tokenizer=MISSING"])
def test_a_student_that_names_missing_files_raises_an_input_error(text, tiny_teacher, tmp_path):
    student = parse_student(text.replace("MISSING", str(tmp_path / "missing.json")))
    with pytest.raises(InputError, match=r"missing\.json"):
        new_student(student, open_teacher(tiny_teacher), tiny_teacher)


def test_pickled_weights_are_never_loaded(student):
    import pickle

    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    (student / "model.safetensors").rename(student / "pytorch_model.bin")
    (student / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DamageError, match=r"holds or lists 'pytorch_model\.bin', which no student has"):
        open_student(student)


@pytest.fixture(scope="module")
def reading_its_own(tiny_teacher, tmp_path_factory):
    """A student that reads no prompt, although its teacher does."""
    teacher = open_teacher(tiny_teacher, compute="float32")
    made = new_student("teacher:layers=1", teacher, tiny_teacher, prompt="none")
    return write_student(tmp_path_factory.mktemp("own") / "student", made, teacher.space, {"recipe": {}}).path


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (None, "expected one for query and one for document"),
        ("search: ", "expected one for query and one for document"),
        ({"query": ""}, "expected one for query and one for document"),
        ({"query": "", "document": "", "passage": ""}, "expected one for query and one for document"),
        ({"query": 5, "document": ""}, "query prompt is 5; expected a string"),
        ({"query": "", "document": ["x"]}, "document prompt is .*; expected a string"),
        ({"query": "x" * 5000, "document": ""}, "has 5000 characters; expected at most 4096"),
        ({"query": "\ud83d", "document": ""}, "surrogates not allowed"),
    ],
)
def test_prompts_that_no_student_has_are_damage(prompts, message, reading_its_own, copied, tmp_path):
    shutil.copytree(reading_its_own, tmp_path / "own")
    for folder, opened in ((tmp_path / "own", open_student), (copied, QueryEncoder.open)):
        edit(folder, lambda facts: facts.update(prompts=prompts))
        with pytest.raises(DamageError, match=rf"leafkit\.json is not .*{message}"):
            opened(folder)


@pytest.mark.parametrize(
    "change", [lambda facts: facts["prompts"].update(query="x"), lambda facts: facts.pop("prompts")]
)
def test_prompts_that_disagree_with_those_of_the_model_are_damage(change, reading_its_own, tmp_path):
    student = shutil.copytree(reading_its_own, tmp_path / "own")
    assert open_student(student).prompts == {"query": "", "document": ""}
    edit(student, change)
    with pytest.raises(DamageError, match=r"reads the prompts none, but its leafkit\.json says query"):
        open_student(student)


def test_prompts_that_disagree_with_the_golden_vectors_are_damage(copied):
    edit(copied, lambda facts: facts.update(version=3, prompts={"query": "", "document": ""}))
    with pytest.raises(DamageError, match="computes other vectors on this machine"):
        QueryEncoder.open(copied)
