"""Indexes of a teacher that writes the vectors of a student's space under another id."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest

import leafkit
from leafkit.errors import DamageError, SpaceError
from leafkit.index.build import build_index
from leafkit.index.update import update_index
from leafkit.search.package import open_package
from leafkit.search.searcher import Searcher
from leafkit.students.folder import read_student
from leafkit.teachers.open import open_teacher
from leafkit.vectors.fingerprint import FINGERPRINT
from leafkit.vectors.golden_texts import GOLDEN
from tests.fixtures.copies import copy_model, half, tuned


class Counting:
    """A teacher that records the texts that it encodes."""

    def __init__(self, folder: Path) -> None:
        self._teacher = open_teacher(folder, compute="float32")
        self.space, self.signals = self._teacher.space, self._teacher.signals
        self.asked: list[str] = []

    def encode(self, texts: list[str], role: str) -> numpy.ndarray:
        self.asked += texts
        return self._teacher.encode(texts, role)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def documents(tmp_path: Path, sentences: list[str]) -> Path:
    """Fifty documents."""
    path = tmp_path / "docs.jsonl"
    path.write_text("".join(json.dumps({"_id": f"d{i}", "text": text}) + "\n" for i, text in enumerate(sentences[:50])))
    return path


@pytest.fixture(scope="module")
def hub_copy(tiny_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny teacher in half precision and without prompts."""
    return copy_model(tiny_teacher, tmp_path_factory.mktemp("hub") / "hub-copy", half, prompts={})


@pytest.fixture
def copied_index(documents: Path, hub_copy: Path, exported: Path, tmp_path: Path) -> Path:
    """An index of the documents by the copy, with the student of the original."""
    return build_index(documents, hub_copy, tmp_path / "docs.index", student=exported)


def test_another_copy_of_the_teacher_indexes_for_the_student_and_updates(
    copied_index: Path, documents: Path, tiny_teacher: Path, exported: Path, sentences: list[str], tmp_path: Path
) -> None:
    original = build_index(documents, tiny_teacher, tmp_path / "original.index", student=exported)
    left, right = Searcher.open(copied_index), Searcher.open(original)
    assert left.space == right.space == read_student(exported).space
    for text in sentences[:10]:
        assert left.search(text, 1).ids == right.search(text, 1).ids
    (tmp_path / "more.txt").write_text("compress a folder\n")
    assert update_index(copied_index, add=tmp_path / "more.txt").count == 51
    (tmp_path / "again.jsonl").write_text('{"_id": "more", "text": "compress a folder"}\n')
    assert update_index(copied_index, add=tmp_path / "again.jsonl", teacher=tiny_teacher).count == 52
    scores = Searcher.open(copied_index).search("compress a folder", 2).scores
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_a_fine_tuned_teacher_neither_builds_nor_updates(
    copied_index: Path, documents: Path, tiny_teacher: Path, exported: Path, tmp_path: Path
) -> None:
    model = copy_model(tiny_teacher, tmp_path / "tuned", tuned)
    with pytest.raises(SpaceError, match="does not write the vectors of the student"):
        build_index(documents, model, tmp_path / "tuned.index", student=exported)
    with pytest.raises(SpaceError, match=r"does not write the vectors of the index .*docs\.index: least cosine"):
        update_index(copied_index, add=documents, teacher=model, replace=True)


def test_equal_ids_cost_no_text(
    documents: Path, tiny_teacher: Path, exported: Path, sentences: list[str], tmp_path: Path
) -> None:
    teacher = Counting(tiny_teacher)
    index = build_index(documents, teacher, tmp_path / "index", student=exported)
    assert sorted(teacher.asked) == sorted(sentences[:50])
    (tmp_path / "more.txt").write_text("compress a folder\n")
    update_index(index, add=tmp_path / "more.txt", teacher=teacher)
    assert teacher.asked[50:] == ["compress a folder"]


def test_an_index_without_a_student_records_what_its_teacher_writes(
    documents: Path, tiny_teacher: Path, hub_copy: Path, exported: Path, tmp_path: Path
) -> None:
    index = build_index(documents, hub_copy, tmp_path / "index", query_prompt="search: ")
    package = open_package(index, verify=True)
    known = package.fingerprint()
    assert known is not None
    assert known.texts == GOLDEN
    assert package.manifest.space.id != read_student(exported).space.id
    # The student of the original finds its place by its own fingerprint, and so does the original.
    assert len(Searcher.open(index, encoder=exported).search("compress", 3)) == 3
    update_index(index, add=documents, teacher=tiny_teacher, replace=True)


def test_a_student_of_another_teacher_is_refused_with_the_cosine_of_the_teachers(
    documents: Path, tiny_teacher: Path, exported: Path, tmp_path: Path
) -> None:
    model = copy_model(tiny_teacher, tmp_path / "tuned", tuned)
    index = build_index(documents, model, tmp_path / "index")
    with pytest.raises(SpaceError, match=r"of their teachers differ: least cosine 0\.\d+ over 16 texts, for the"):
        Searcher.open(index, encoder=exported)


def test_an_index_of_declared_vectors_carries_the_fingerprint_of_the_student(
    tiny_teacher: Path, exported: Path, sentences: list[str], hub_copy: Path, tmp_path: Path
) -> None:
    file = tmp_path / "from-an-api.npy"
    numpy.save(file, open_teacher(tiny_teacher, compute="float32").encode(sentences[:50], "document"))
    file.with_suffix(".jsonl").write_text("\n".join(json.dumps({"text": text}) for text in sentences[:50]))
    index = build_index(file, file, tmp_path / "index", teacher_space=str(exported))
    assert (index / FINGERPRINT).read_bytes() == (exported / FINGERPRINT).read_bytes()
    (tmp_path / "more.txt").write_text("compress a folder\n")
    assert update_index(index, add=tmp_path / "more.txt", teacher=hub_copy).count == 51


def test_a_rotated_index_recognises_the_teacher_of_its_base_space(
    documents: Path, tiny_teacher: Path, hub_copy: Path, exported: Path, tmp_path: Path
) -> None:
    index = build_index(documents, tiny_teacher, tmp_path / "index", student=exported, rotate="pca", dim=16)
    (tmp_path / "more.txt").write_text("compress a folder\n")
    update_index(index, add=tmp_path / "more.txt", teacher=hub_copy)
    teacher = open_teacher(tiny_teacher)
    hits = Searcher.open(index).search(teacher.encode(["compress a folder"], "document")[0], 1)
    assert hits.scores[0] == pytest.approx(1, abs=1e-3)


def test_a_changed_or_missing_fingerprint_is_damage(copied_index: Path) -> None:
    file = copied_index / FINGERPRINT
    file.write_bytes(file.read_bytes().replace(b"query", b"quer\x79 ", 1))
    with pytest.raises(DamageError, match=r"fingerprint\.json"):
        Searcher.open(copied_index)
    file.unlink()
    with pytest.raises(DamageError, match=r"fingerprint\.json is missing"):
        Searcher.open(copied_index)


def test_info_says_whether_there_is_a_fingerprint(copied_index: Path, exported: Path, copied: Path) -> None:
    shown = "9 queries and 7 documents with the teacher's vectors"
    assert leafkit.info(copied_index)["fingerprint"] == leafkit.info(exported)["fingerprint"] == shown
    (copied / FINGERPRINT).unlink()
    record = json.loads((copied / "leafkit.json").read_text())
    del record["files"][FINGERPRINT]
    (copied / "leafkit.json").write_text(json.dumps(record))
    assert leafkit.info(copied)["fingerprint"] == "none, so the space is known by its id alone"
