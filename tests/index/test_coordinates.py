"""Rotated and folded indexes: the same hits and cosines from fewer numbers; a folded index serves one student."""

import json
import shutil
import sys

import numpy
import pytest

import leafkit
from leafkit.errors import DamageError, InputError, MissingExtraError, OptionError, SpaceError, VectorError
from leafkit.index.build import build_index
from leafkit.index.update import update_index
from leafkit.search.manifest import read_manifest
from leafkit.search.searcher import Searcher
from leafkit.teachers.open import open_teacher
from leafkit.texts.read import FIRST_ROWS
from tests.fixtures.packages import index_vectors, update_vectors

QUERIES = ["show files list", "git commit branch 3", "audio video convert", "kill process 12"]


@pytest.fixture(scope="session")
def narrow(tmp_path_factory, tiny_teacher, tiny_texts, narrow_model):
    """A student whose head maps 16 numbers to 32, trained in the teacher's coordinates and in PCA coordinates."""
    folder = tmp_path_factory.mktemp("narrow")
    for rotate in (None, "pca"):
        how = {"epochs": 0, "rotate": rotate, "cache": folder / "cache"}
        leafkit.distill(tiny_texts, tiny_teacher, str(narrow_model), folder / str(rotate), **how)
    return folder


@pytest.fixture
def documents(tmp_path, sentences):
    path = tmp_path / "docs.jsonl"
    path.write_text("".join(json.dumps({"_id": f"d{i}", "text": text}) + "\n" for i, text in enumerate(sentences)))
    return path


@pytest.fixture
def build(documents, tiny_teacher, narrow, tmp_path):
    """A function that builds an index of the documents and opens it."""

    def run(name="index", **options):
        return Searcher.open(build_index(documents, tiny_teacher, tmp_path / name, cache=narrow / "cache", **options))

    return run


def assert_same_hits(one, other):
    for a, b in zip(one.search(QUERIES, 50), other.search(QUERIES, 50)):
        assert a.ids == b.ids
        numpy.testing.assert_allclose(a.scores, b.scores, atol=1e-5)


def test_a_folded_index_stores_width_plus_one_numbers_and_finds_the_same_hits(build, narrow):
    folded = build("folded", fold=narrow / "None")
    assert folded.manifest.dim == 17
    assert folded.encoder.encode(["git"], "query").shape == (1, 17)
    assert_same_hits(build("whole", student=narrow / "None"), folded)


@pytest.mark.parametrize("form", ["NARROW", "static:dim=8"])
def test_a_student_without_head_bias_can_be_folded_and_rotated(
    build, tiny_texts, tiny_teacher, narrow_model, tmp_path, form
):
    form, student = form.replace("NARROW", str(narrow_model)), tmp_path / "student"
    leafkit.distill(tiny_texts, tiny_teacher, form, student, epochs=0, head_bias=False)
    whole = build("whole", student=student)
    assert_same_hits(whole, build("folded", fold=student))
    assert_same_hits(whole, build("turned", student=student, rotate="random"))


@pytest.mark.parametrize("rotate", ["pca", "itq", "random"])
@pytest.mark.parametrize("how", ["student", "fold"])
def test_a_rotated_index_finds_the_same_hits(build, narrow, how, rotate):
    assert_same_hits(build("whole", student=narrow / "None"), build("turned", rotate=rotate, **{how: narrow / "None"}))


@pytest.mark.parametrize("how", ["student", "fold"])
@pytest.mark.parametrize("rotate", [None, "random"])
def test_the_index_of_a_rotated_student_finds_the_same_hits(build, narrow, how, rotate):
    turned = build("turned", rotate=rotate, **{how: narrow / "pca"})
    assert_same_hits(build("whole", student=narrow / "None"), turned)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "int8", "rescore": "float32"},
        {"precision": "binary", "rescore": "float32"},
        {"factory": "HNSW16", "rescore": "float32"},
        {"factory": "IVF4,Flat"},
        {"factory": "PQ4x4", "rescore": "float32", "dim": 16},
    ],
    ids=str,
)
def test_a_fold_works_with_every_precision_and_index_type(build, narrow, options):
    plain = build("plain", fold=narrow / "None", **({"dim": options["dim"]} if "dim" in options else {}))
    other = build("other", fold=narrow / "None", **options)
    for a, b in zip(plain.search(QUERIES, 5), other.search(QUERIES, 5)):
        numpy.testing.assert_allclose(a.scores[:1], b.scores[:1], atol=1e-5)
        assert a.ids[0] == b.ids[0]


def test_students_of_one_rotation_share_an_index_and_others_do_not(build, narrow):
    twice = build("twice", student=[f"one={narrow / 'pca'}", f"two={narrow / 'pca'}"])
    assert twice.efforts == ("one", "two")
    assert_same_hits(build("whole", student=narrow / "None"), twice)
    for students in (["pca", "None"], ["None", "pca"]):
        with pytest.raises(SpaceError, match="indexes of their own") as caught:
            build("mixed", student=[f"s{number}={narrow / name}" for number, name in enumerate(students)])
        assert "of its teacher" in str(caught.value)
        assert "pca:" in str(caught.value)


def test_a_fold_reduced_to_fewer_numbers_ranks_similarly(build, narrow):
    whole = build("whole", student=narrow / "None").search(QUERIES, 20)
    shared = []
    for dim in (4, 8, 16):
        cut = build(f"cut {dim}", fold=narrow / "None", dim=dim)
        assert cut.manifest.dim == dim
        shared.append(numpy.mean([len({*a.ids} & {*b.ids}) for a, b in zip(whole, cut.search(QUERIES, 20))]))
    assert shared[0] < shared[1] < shared[2]
    assert shared[2] >= 13


def test_a_folded_index_rejects_every_other_encoder(build, narrow, tiny_teacher, exported, tmp_path):
    build("folded", fold=narrow / "None")
    for other in (exported, narrow / "None", open_teacher(tiny_teacher)):
        with pytest.raises(SpaceError, match="folded for the student inside it"):
            Searcher.open(tmp_path / "folded", encoder=other)


def test_a_rotated_index_accepts_any_encoder_of_the_teachers_space(build, narrow, tiny_teacher, exported):
    whole, turned = build("whole", student=exported), build("turned", student=narrow / "None", rotate="itq")
    for encoder in (exported, open_teacher(tiny_teacher)):
        assert_same_hits(*(Searcher.open(index._package.folder, encoder=encoder) for index in (whole, turned)))


def test_query_vectors_of_a_rotated_index_are_in_the_teachers_space(build, narrow, tiny_teacher):
    queries = open_teacher(tiny_teacher).encode(QUERIES, "query")
    turned = build("turned", student=narrow / "None", rotate="pca", dim=20)
    assert turned.space == open_teacher(tiny_teacher).space
    for a, b in zip(turned.search(queries, 5), Searcher.open(turned._package.folder).search(queries, 5)):
        assert a.ids == b.ids
    with pytest.raises(VectorError, match="expected rows of 32 numbers"):
        turned.search(queries[:, :20])


def test_documents_can_be_added_to_a_folded_index(build, narrow, documents, tmp_path, sentences):
    folded = build("folded", fold=narrow / "None", dim=14, precision="int8")
    before = folded.search(QUERIES, 3)
    update_index(tmp_path / "folded", remove=["d5", "d6"], compact=True)
    more = tmp_path / "more.jsonl"
    more.write_text("".join(json.dumps({"_id": f"d{i}", "text": sentences[i]}) + "\n" for i in (5, 6)))
    update_index(tmp_path / "folded", add=more, cache=narrow / "cache")
    again = Searcher.open(tmp_path / "folded")
    assert read_manifest(tmp_path / "folded").space == folded.manifest.space
    for a, b in zip(before, again.search(QUERIES, 3)):
        numpy.testing.assert_allclose(a.scores, b.scores, atol=2e-3)


def test_an_update_folds_the_added_vectors(narrow, tiny_teacher, tmp_path, sentences):
    teacher = open_teacher(tiny_teacher)
    vectors = teacher.encode(sentences, "document")
    ids = [f"d{i}" for i in range(200)]
    index = index_vectors(ids[:150], vectors[:150], teacher.space, tmp_path / "index", fold=narrow / "None")
    update_vectors(index, ids=ids[150:], vectors=vectors[150:])
    whole = index_vectors(ids, vectors, teacher.space, tmp_path / "whole", student=narrow / "None")
    assert_same_hits(Searcher.open(whole), Searcher.open(index))


def test_the_ridge_start_of_rotated_coordinates_is_the_rotated_ridge_start(narrow):
    """W minimises |W h - t|, so R W minimises |R W h - R t|."""
    from leafkit.students.encoder import open_student
    from leafkit.vectors.mapping import read_mapping

    plain, turned = (open_student(narrow / name) for name in ("None", "pca"))
    mapping = read_mapping(narrow / "pca", turned.space)
    assert mapping.base == plain.space
    expected = mapping.apply(plain.encode(QUERIES, "query"), "query")
    numpy.testing.assert_allclose(turned.encode(QUERIES, "query"), expected, atol=1e-3)


def test_vectors_written_by_a_rotated_student_are_indexed_unchanged(narrow, documents, tmp_path):
    build_index(documents, narrow / "pca", tmp_path / "index", student=narrow / "pca")
    build_index(documents, narrow / "None", tmp_path / "plain", student=narrow / "None")
    turned = Searcher.open(tmp_path / "index")
    assert turned.space == turned.encoder.space
    for a, b in zip(turned.search(QUERIES, 5), Searcher.open(tmp_path / "plain").search(QUERIES, 5)):
        numpy.testing.assert_allclose(a.scores, b.scores, atol=2e-3)


@pytest.mark.parametrize("rotate", [None, "pca"])
def test_an_index_can_be_built_from_an_export_in_another_folder(build, narrow, tmp_path, rotate):
    moved = leafkit.export(narrow / str(rotate), out=tmp_path / "moved")
    for how in ("student", "fold"):
        assert_same_hits(build(f"from the folder, {how}", **{how: narrow / str(rotate)}), build(how, **{how: moved}))


def test_the_card_names_the_coordinates_that_a_student_writes(narrow):
    plain, turned = ((narrow / name / "README.md").read_text() for name in ("None", "pca"))
    assert "document vectors without any change" in plain
    assert "document vectors after mapping.npz has rotated them" in turned


def test_info_reports_a_missing_mapping_as_damage(narrow, tmp_path, build):
    student = shutil.copytree(narrow / "pca", tmp_path / "student")
    assert "intact" in leafkit.info(student)["health"]
    build("turned", student=student)
    assert "intact" in leafkit.info(tmp_path / "turned" / "encoder")["health"]
    (student / "mapping.npz").unlink()
    with pytest.raises(DamageError, match=r"mapping.npz is missing"):
        leafkit.info(student)


@pytest.mark.parametrize("how", [{"fold": True}, {"fold": False, "rotate": "random"}])
def test_a_head_that_cannot_be_changed_is_an_error_before_documents_are_read(
    narrow, tiny_teacher, tmp_path, how, monkeypatch
):
    import leafkit.onnx.head as home

    options = {"fold" if how.pop("fold") else "student": narrow / "None", **how}
    broken = tmp_path / "broken.jsonl"
    # The first rows of every file are read before anything else.
    broken.write_text('{"text": "list"}\n' * FIRST_ROWS + "no JSON\n")
    monkeypatch.setattr(home, "HEAD", "no such node")
    with pytest.raises(InputError, match=r"None has no head that leafkit recognises\. Run `leafkit export"):
        build_index(broken, tiny_teacher, tmp_path / "index", **options)
    monkeypatch.delitem(sys.modules, "leafkit.onnx.head")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'leafkit\[train\]'"):
        build_index(broken, tiny_teacher, tmp_path / "index", **options)


def test_invalid_folds_raise_an_error_with_the_reason(build, narrow, exported, tmp_path):
    with pytest.raises(
        OptionError, match=r"dim is 17; expected 1 to 16. The whole fold of this student has 17 numbers"
    ):
        build(fold=narrow / "None", dim=17)
    with pytest.raises(OptionError, match="Give only one of the two"):
        build(fold=narrow / "None", student=exported)
    with pytest.raises(OptionError, match="rotate is 'pcs'; did you mean 'pca'"):
        build(student=narrow / "None", rotate="pcs")
    old = shutil.copytree(narrow / "None", tmp_path / "old")
    (old / "query_moment.npy").unlink()
    with pytest.raises(InputError, match=r"query_moment\.npy is missing.*Distil the student again"):
        build(fold=old)
    assert not (tmp_path / "index").exists()
