"""A vectors file as the teacher of its own texts: in order, out of order, with rows that nobody asks for."""

import json

import numpy
import pytest

from leafkit.errors import DamageError, VectorError
from leafkit.teachers.embed import embed
from leafkit.teachers.in_order import InOrderTeacher
from leafkit.teachers.open import open_teacher
from leafkit.vectors import vectors_file_parquet
from leafkit.vectors.vectors_file import open_vectors_file
from leafkit.vectors.vectors_file_types import SpaceLabel

TEXTS = [f"text {i}" for i in range(20)]


@pytest.fixture
def path(tmp_path, hash_teacher, monkeypatch):
    monkeypatch.setattr(vectors_file_parquet, "READ", 3)
    texts = tmp_path / "texts.jsonl"
    rows = [{"text": text, "role": "query" if i % 5 == 0 else "document"} for i, text in enumerate(TEXTS)]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return embed(texts, hash_teacher(), tmp_path / "v.parquet")


@pytest.fixture
def teacher(path):
    return InOrderTeacher(path, open_vectors_file(path).label)


def test_texts_in_order_in_blocks_have_the_vectors_of_the_file(teacher, path, monkeypatch):
    whole, asked = open_teacher(path), [text for i, text in enumerate(TEXTS) if i % 5]
    monkeypatch.setattr(teacher, "_search", None)
    for _ in range(2):
        parts = [teacher.encode(asked[start : start + 4], "document") for start in range(0, len(asked), 4)]
        assert numpy.array_equal(numpy.concatenate(parts), whole.encode(asked, "document"))
    assert teacher.space == whole.space


def test_texts_in_another_order_are_found_too(teacher, path):
    asked = [TEXTS[7], f" {TEXTS[2]} ", TEXTS[7]]
    assert numpy.array_equal(teacher.encode(asked, "document"), open_teacher(path).encode(asked, "document"))
    assert teacher.holds([*asked, TEXTS[0], "another"], "document").tolist() == [True, True, True, False, False]
    assert teacher.sample_texts() == open_teacher(path).sample_texts()
    with pytest.raises(VectorError, match=r"v\.parquet has no vector for 2 of 3 query texts\. The first is 'text 1'"):
        teacher.encode(["text 1", "text 5", "text 2"], "query")


def test_a_width_other_than_the_recorded_one_is_refused(path, hash_teacher):
    teacher = InOrderTeacher(path, SpaceLabel(space=hash_teacher(dim=4).space))
    with pytest.raises(DamageError, match="holds vectors of width 8, but records the width 4"):
        teacher.encode(TEXTS[1:2], "document")
