"""A teacher belongs to a recorded space if and only if it writes the vectors of the space."""

import dataclasses
import json
import logging
import re

import numpy
import pytest

import leafkit
from leafkit.errors import SpaceError
from leafkit.space import Space
from leafkit.students.folder import read_student
from leafkit.teachers.agreement import fingerprint_of
from leafkit.teachers.open import open_teacher
from leafkit.teachers.options import TeacherOptions
from leafkit.teachers.same_space import RecordedSpace, adopt, open_in_space
from leafkit.vectors.adopted import AdoptedTeacher, exact_teacher
from leafkit.vectors.cached import cached
from leafkit.vectors.fingerprint import FINGERPRINT, read_fingerprint
from leafkit.vectors.golden_texts import GOLDEN
from tests.fixtures.copies import copy_model, half, tuned

TEXTS = ["list the files of a user", "key"]


@pytest.fixture(scope="session")
def recorded(exported):
    """The space of the tiny teacher, as its student records it."""
    return RecordedSpace.of_student(exported)


@pytest.fixture(scope="session")
def half_copy(tiny_teacher, tmp_path_factory):
    """The tiny teacher in half precision and without its prompts, like a copy on a hub."""
    return copy_model(tiny_teacher, tmp_path_factory.mktemp("half") / "hub-copy", half, prompts={})


@pytest.fixture(scope="session")
def tuned_copy(tiny_teacher, tmp_path_factory):
    """The tiny teacher after a light fine-tuning."""
    return copy_model(tiny_teacher, tmp_path_factory.mktemp("tuned") / "tuned", tuned)


def opened(model, recorded, **options):
    return open_in_space(model, TeacherOptions(**options), recorded)


def test_every_student_carries_what_its_teacher_writes(exported, tiny_teacher):
    space = read_student(exported).space
    teacher = open_teacher(tiny_teacher)
    fingerprint = read_fingerprint(exported, space)
    assert fingerprint.texts == GOLDEN
    for (text, role), vector in zip(GOLDEN, fingerprint.vectors, strict=True):
        assert teacher.encode([text], role)[0] @ vector == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_a_copy_in_another_precision_and_without_prompts_is_recognised(half_copy, recorded, compute, caplog):
    plain = open_teacher(half_copy, compute="float32")
    assert plain.space.query_prompt == ""
    with caplog.at_level(logging.INFO, "leafkit"):
        teacher = opened(half_copy, recorded, compute=compute)
    logged = r"hub-copy writes the vectors of tiny-teacher \(least cosine [01]\.\d{5} over 16 texts\): same space"
    assert re.search(logged, caplog.text)
    assert teacher.space == recorded.space
    asked = teacher.encode(TEXTS, "query")
    prompted = plain.encode([f"search: {text}" for text in TEXTS], "query")
    assert numpy.allclose(asked, prompted, atol=1e-6 if compute == "float32" else 2e-2)


def test_the_onnx_file_of_the_model_is_recognised(onnx_folder, recorded):
    assert opened(onnx_folder, recorded).space == recorded.space


@pytest.mark.parametrize(
    "options",
    [{"query_prompt": "ask: "}, {"query_prompt": ""}, {"document_prompt": "page: "}, {"max_length": 32}],
    ids=str,
)
def test_another_prompt_or_length_is_refused_with_the_least_cosine(tiny_teacher, recorded, options):
    (name,) = options
    with pytest.raises(SpaceError, match=rf"least cosine 0\.\d+ over 16 texts, for the .*\n +{name} is "):
        opened(tiny_teacher, recorded, **options)


def test_a_length_that_no_text_reaches_is_refused(tiny_teacher, recorded):
    """The golden texts cannot tell lengths that all of them are below, but both spaces state theirs."""
    longer = dataclasses.replace(recorded.space, max_length=63)
    with pytest.raises(SpaceError, match="max_length is 64; expected 63"):
        opened(tiny_teacher, dataclasses.replace(recorded, space=longer), compute="float32")


def test_another_pooling_is_refused(half_copy, recorded, tmp_path):
    copy = copy_model(half_copy, tmp_path / "cls", half)
    file = copy / "1_Pooling" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_bytes()), "pooling_mode": "cls"}))
    with pytest.raises(SpaceError, match=r"least cosine [\s\S]*pooling is 'cls'; expected 'mean'"):
        opened(copy, recorded)


def test_vectors_that_are_not_normalised_are_refused(half_copy, recorded, tmp_path):
    copy = copy_model(half_copy, tmp_path / "raw", half)
    modules = json.loads((copy / "modules.json").read_bytes())
    (copy / "modules.json").write_text(json.dumps(modules[:2]))
    with pytest.raises(SpaceError, match=r"least ratio of lengths [\s\S]*normalised is False"):
        opened(copy, recorded)


def test_a_fine_tuned_model_and_another_one_are_refused(tuned_copy, other_teacher, recorded):
    for model in (tuned_copy, other_teacher):
        with pytest.raises(SpaceError, match=r"does not write the vectors of the student .*: least cosine"):
            opened(model, recorded)


def test_equal_ids_ask_the_teacher_for_nothing(tiny_teacher, recorded):
    class Silent:
        space = open_teacher(tiny_teacher).space
        signals = frozenset({"embeddings", "online"})

        def encode(self, texts, role):
            raise AssertionError("asked")

    teacher = Silent()
    assert adopt(teacher, recorded, name="the teacher") is teacher


def test_without_a_fingerprint_only_ids_tell(half_copy, tiny_teacher, recorded):
    old = dataclasses.replace(recorded, fingerprint=None)
    assert opened(tiny_teacher, old).space.id == old.space.id
    with pytest.raises(SpaceError, match="weights is"):
        opened(half_copy, old)


def test_copies_never_share_a_cache(half_copy, recorded, tmp_path):
    teacher = opened(half_copy, recorded, compute="float32")
    assert isinstance(teacher, AdoptedTeacher)
    stored = cached(teacher, tmp_path, dtype="float32")
    assert stored.space == recorded.space
    assert stored.store.space == exact_teacher(teacher).space != recorded.space
    assert numpy.array_equal(stored.encode(TEXTS, "query"), teacher.encode(TEXTS, "query"))
    assert [folder.name for folder in tmp_path.iterdir()] == [f"{stored.store.space.id}-float32"]


@pytest.fixture(scope="session")
def embedded(tiny_teacher, tiny_texts, tmp_path_factory):
    """A vectors file of the golden texts and of others, as another tool writes it: without a recorded space."""
    teacher = open_teacher(tiny_teacher, compute="float32")
    rows = [*GOLDEN, *((text, "document") for text in (f"text {number} of a list" for number in range(200)))]
    file = tmp_path_factory.mktemp("embedded") / "from-an-api.npy"
    numpy.save(file, numpy.concatenate([teacher.encode([text], role) for text, role in rows]))
    lines = [json.dumps({"text": text, "role": role}) for text, role in rows]
    file.with_suffix(".jsonl").write_text("\n".join(lines))
    return file


def test_a_vectors_file_that_holds_the_texts_is_recognised(embedded, recorded):
    assert opened(embedded, recorded).space == recorded.space


def test_a_declared_vectors_file_that_holds_the_texts_is_compared_by_them(embedded, exported, recorded, tmp_path):
    teacher = open_teacher(embedded, teacher_space=str(exported))
    assert fingerprint_of(teacher) is recorded.fingerprint or fingerprint_of(teacher).texts == GOLDEN
    vectors = numpy.load(embedded)
    vectors[0] += 0.1 * vectors[1]  # too little for the comparison with a student
    numpy.save(tmp_path / "v.npy", vectors)
    (tmp_path / "v.jsonl").write_bytes(embedded.with_suffix(".jsonl").read_bytes())
    with pytest.raises(SpaceError, match=r"holds other vectors for the texts of its fingerprint: least cosine 0\.99"):
        open_teacher(tmp_path / "v.npy", teacher_space=str(exported))


def test_the_fingerprint_of_a_vectors_file_is_a_sample_that_its_model_reproduces(embedded, tiny_teacher):
    file = open_teacher(embedded)
    fingerprint = fingerprint_of(file)
    roles = [role for _, role in fingerprint.texts]
    assert len(fingerprint.texts) == len({*fingerprint.texts}) <= 32
    assert roles.count("query") == sum(role == "query" for _, role in GOLDEN)
    assert roles.count("document") == 16
    assert fingerprint.texts == fingerprint_of(open_teacher(embedded)).texts
    recorded = RecordedSpace(owner="the index", space=file.space, fingerprint=fingerprint)
    assert opened(tiny_teacher, recorded).space == file.space


def test_two_declared_files_never_share_a_cache(embedded, exported, tmp_path):
    texts = [f"text {number} of a list" for number in range(200)]
    numpy.save(tmp_path / "v.npy", numpy.load(embedded)[len(GOLDEN) :])
    (tmp_path / "v.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    spaces = [exact_teacher(open_teacher(file, teacher_space=str(exported))).space
              for file in (embedded, tmp_path / "v.npy")]  # fmt: skip
    assert spaces[0].id != spaces[1].id
    assert {space.query_prompt for space in spaces} == {"search: "}


def test_a_student_writes_only_its_own_fingerprint(exported, recorded):
    assert fingerprint_of(leafkit.open_teacher(exported)) is None
    assert isinstance(recorded.space, Space)
    assert (exported / FINGERPRINT).is_file()
