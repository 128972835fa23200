"""Vectors of a teacher that answers in parts: each part is kept, whatever happens after it."""

import numpy
import pytest

from leafkit.errors import VectorError
from leafkit.vectors import store as module
from leafkit.vectors.store import VectorStore

TEXTS = [f"text {number}" for number in range(12)]


@pytest.fixture
def parts_teacher(hash_teacher, monkeypatch):
    """A teacher that answers three texts at a time, the last texts first, and stops at ``broken`` after ``error``."""
    monkeypatch.setattr(module, "PART", 6)

    class PartsTeacher(hash_teacher):
        look = staticmethod(lambda: None)
        broken, error = "", RuntimeError("no more")

        def encode_each(self, texts, roles):
            for start in range(len(texts) - 3, -3, -3):
                rows = numpy.arange(max(start, 0), start + 3)
                self.look()
                if self.broken in {texts[row] for row in rows}:
                    raise self.error
                yield rows, numpy.concatenate([self.encode([texts[row]], roles[row]) for row in rows])

    return PartsTeacher()


def filled(store, teacher):
    store.fill(teacher, TEXTS, ["query", "document"] * 6)
    return store


def test_vectors_are_those_of_a_teacher_that_answers_at_once(hash_teacher, parts_teacher, tmp_path):
    one = filled(VectorStore.open(tmp_path / "one", parts_teacher.space), parts_teacher)
    other = filled(VectorStore.open(tmp_path / "other", parts_teacher.space), hash_teacher())
    rows = [store.rows(TEXTS, ["query", "document"] * 6) for store in (one, other)]
    assert (one.gather(rows[0]) == other.gather(rows[1])).all()
    one.verify()


def test_parts_are_on_disk_before_more_than_a_block_is_asked_for(parts_teacher, tmp_path):
    """What a kill can lose is less than a block."""
    seen = []
    parts_teacher.look = lambda: seen.append(len(VectorStore.open(tmp_path, parts_teacher.space)))
    filled(VectorStore.open(tmp_path, parts_teacher.space), parts_teacher)
    assert seen == [0, 0, 6, 6]


def test_parts_that_come_slowly_are_on_disk_before_the_next(parts_teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSE", -1.0)
    seen = []
    parts_teacher.look = lambda: seen.append(len(VectorStore.open(tmp_path, parts_teacher.space)))
    filled(VectorStore.open(tmp_path, parts_teacher.space), parts_teacher)
    assert seen == [0, 3, 6, 9]


@pytest.mark.parametrize("error", [RuntimeError("no more"), KeyboardInterrupt()])
def test_an_error_keeps_all_parts_before_it_and_the_next_call_asks_for_the_rest(parts_teacher, tmp_path, error):
    parts_teacher.broken, parts_teacher.error = TEXTS[1], error
    with pytest.raises(type(error)):
        filled(VectorStore.open(tmp_path, parts_teacher.space), parts_teacher)
    assert len(VectorStore.open(tmp_path, parts_teacher.space)) == 9
    parts_teacher.broken = ""
    assert len(filled(VectorStore.open(tmp_path, parts_teacher.space), parts_teacher)) == 12
    assert sorted(text for _, text in parts_teacher.encoded) == sorted(TEXTS)


def test_a_write_that_is_interrupted_and_repeated_leaves_no_bytes_between(parts_teacher, tmp_path, monkeypatch):
    store = VectorStore.open(tmp_path, parts_teacher.space)

    def interrupted(descriptor):
        monkeypatch.undo()
        store._keys_file.write_bytes(b"a part of the keys")
        raise KeyboardInterrupt

    monkeypatch.setattr(module.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        filled(store, parts_teacher)
    kept = VectorStore.open(tmp_path, parts_teacher.space)
    kept.verify()
    assert (kept.rows(TEXTS, ["query", "document"] * 6) >= 0).sum() == len(kept) > 0


def test_a_part_that_cannot_be_used_is_not_kept(parts_teacher, tmp_path):
    asked = parts_teacher.encode_each
    parts_teacher.encode_each = lambda texts, roles: (
        (rows, vectors * numpy.nan if 0 in rows else vectors) for rows, vectors in asked(texts, roles)
    )
    with pytest.raises(VectorError, match="NaN"):
        filled(VectorStore.open(tmp_path, parts_teacher.space), parts_teacher)
    assert len(VectorStore.open(tmp_path, parts_teacher.space)) == 9


def test_vectors_in_float32_are_rounded_and_not_asked_for_again(parts_teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    exact = VectorStore.open(tmp_path, parts_teacher.space, dtype="float32")
    own = exact.fill(parts_teacher, TEXTS[:9], ["query", "document"] * 4 + ["query"])
    rounded = filled(VectorStore.open(tmp_path, parts_teacher.space), parts_teacher)
    assert sorted(text for _, text in parts_teacher.encoded) == sorted(TEXTS)
    rows = rounded.rows(TEXTS[:9], ["query", "document"] * 4 + ["query"])
    assert numpy.allclose(rounded.gather(rows), exact.gather(own), atol=1e-3)
    rounded.verify()
