"""Teachers that the user declares to belong to the space of a student, which the student confirms or refutes."""

import dataclasses
import json
import shutil

import numpy
import pytest

import leafkit
from leafkit.errors import InputError, OptionError, SpaceError
from leafkit.students.folder import read_student
from leafkit.teachers.open import open_teacher
from leafkit.vectors.store import is_exact


@pytest.fixture(scope="session")
def documents(sentences, tiny_teacher):
    """Texts and their vectors from the tiny teacher."""
    return sentences[:80], open_teacher(tiny_teacher, compute="float32").encode(sentences[:80], "document")


@pytest.fixture
def write(tmp_path):
    """Write texts and vectors like another tool, without a recorded space."""

    def write(texts, vectors, role=None):
        rows = [{"text": text, **({"role": role} if role else {})} for text in texts]
        (tmp_path / "v.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        numpy.save(tmp_path / "v.npy", vectors)
        return tmp_path / "v.npy"

    return write


def test_vectors_without_a_space_get_the_space_of_the_student(exported, documents, write):
    file = write(*documents)
    space = read_student(exported).space
    assert open_teacher(file).space.id != space.id
    declared = open_teacher(file, teacher_space=str(exported))
    assert declared.space == space
    assert is_exact(declared)
    assert numpy.array_equal(declared.encode(documents[0], "document"), documents[1])


def test_an_index_of_declared_vectors_can_be_searched_and_updated(exported, documents, write, tmp_path):
    file, out = write(*documents), tmp_path / "docs.index"
    with pytest.raises(SpaceError, match=r"does not belong to the vector space .*: weights is"):
        leafkit.build_index(file, file, out, student=exported)
    leafkit.build_index(file, file, out, student=exported, teacher_space=str(exported))
    encoder = leafkit.QueryEncoder.open(exported)
    expected = numpy.argsort(-(encoder.encode(documents[0][:3]) @ documents[1].T), axis=1)[:, 0]
    searcher = leafkit.Searcher.open(out)
    assert [searcher.search(text, k=1).payload[0]["text"] for text in documents[0][:3]] == [
        documents[0][row] for row in expected
    ]
    removed = searcher.search(documents[0][0], k=1).ids
    again = tmp_path / "again.jsonl"
    again.write_text(json.dumps({"_id": "again", "text": documents[0][5]}) + "\n")
    assert leafkit.update_index(out, add=again, remove=removed).added == 1


def test_an_index_of_declared_vectors_is_updated_in_another_folder(exported, documents, write, tmp_path, monkeypatch):
    file = write(*documents)
    monkeypatch.chdir(exported.parent)
    leafkit.build_index(file, file, tmp_path / "docs.index", teacher_space=exported.name)
    (tmp_path / "again.jsonl").write_text(json.dumps({"_id": "again", "text": documents[0][5]}) + "\n")
    monkeypatch.chdir(tmp_path)
    assert leafkit.update_index("docs.index", add="again.jsonl").added == 1


def wrong(documents, case):
    texts, vectors = documents
    random = numpy.random.default_rng(0)
    turn = numpy.linalg.qr(random.normal(size=(vectors.shape[1], vectors.shape[1])))[0]
    return texts, {
        "another model's": (vectors @ turn).astype(numpy.float32),
        "negated": -vectors,
        "noise": random.normal(size=vectors.shape).astype(numpy.float32),
        "of other texts": numpy.roll(vectors, 1, axis=0),
    }[case]


@pytest.mark.parametrize("case", ["another model's", "negated", "noise", "of other texts"])
def test_wrong_vectors_raise(exported, documents, write, case):
    with pytest.raises(SpaceError, match=r"student differ: over 64 texts the mean cosine is .* nearest neighbours"):
        open_teacher(write(*wrong(documents, case)), teacher_space=str(exported))


def test_vectors_of_another_width_raise(exported, documents, write):
    with pytest.raises(SpaceError, match=r"vectors of width 16; expected 32, the width of the space of"):
        open_teacher(write(documents[0], documents[1][:, :16]), teacher_space=str(exported))


def test_a_copy_of_the_model_with_another_hash_and_no_prompt_is_accepted(exported, tiny_teacher, tmp_path):
    copy = shutil.copytree(tiny_teacher, tmp_path / "copy")
    config = json.loads((copy / "config_sentence_transformers.json").read_bytes())
    (copy / "config_sentence_transformers.json").write_text(json.dumps({**config, "prompts": {}}))
    weights = (copy / "model.safetensors").read_bytes()
    header = int.from_bytes(weights[:8], "little")
    longer = (header + 8).to_bytes(8, "little") + weights[8 : 8 + header] + b" " * 8 + weights[8 + header :]
    (copy / "model.safetensors").write_bytes(longer)
    plain = open_teacher(copy, compute="float32")
    space = read_student(exported).space
    assert {f.name for f in dataclasses.fields(space) if getattr(space, f.name) != getattr(plain.space, f.name)} == {
        "teacher",
        "weights",
        "query_prompt",
    }
    declared = open_teacher(copy, compute="float32", teacher_space=str(exported))
    assert declared.space == space
    original = open_teacher(tiny_teacher, compute="float32")
    for role in ("query", "document"):
        assert numpy.array_equal(declared.encode(["a file"], role), original.encode(["a file"], role))


def test_another_model_raises(exported, other_teacher):
    with pytest.raises(SpaceError, match="over 16 texts the mean cosine"):
        open_teacher(other_teacher, compute="float32", teacher_space=str(exported))


def test_declared_vectors_of_a_student_stay_approximate(exported, tiny_texts, tmp_path):
    file = leafkit.embed(tiny_texts, exported, tmp_path / "by-student.npy")
    assert not is_exact(open_teacher(file, teacher_space=str(exported)))


def test_options_that_the_student_records_raise(exported, documents, write):
    with pytest.raises(OptionError, match="query_prompt does not apply to a teacher with teacher_space"):
        open_teacher(write(*documents), teacher_space=str(exported), query_prompt="ask: ")


def test_a_missing_student_raises(documents, write):
    with pytest.raises(InputError, match="nowhere holds no student"):
        open_teacher(write(*documents), teacher_space="nowhere")
