"""Validation measures the held-out texts and no other texts."""

import dataclasses
import json

import pytest

from leafkit.students.encoder import open_student
from leafkit.teachers.open import open_teacher
from leafkit.texts.options import TextOptions
from leafkit.texts.table import distinct_texts
from leafkit.training.corpus import read_corpus
from leafkit.training.validation import measure
from leafkit.types import ROLES
from leafkit.vectors.encode import encode_by_role


@pytest.fixture(scope="module")
def teacher(tiny_teacher):
    return open_teacher(tiny_teacher, compute="float32")


@pytest.fixture
def valid_file(tmp_path, sentences):
    """Thirty texts in both roles, each made of two training texts."""
    pairs = zip(sentences[:60:2], sentences[1:60:2], strict=True)
    rows = [{"text": f"{one} {other}", "role": ROLES[i % 2]} for i, (one, other) in enumerate(pairs)]
    file = tmp_path / "valid.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def figures(student, teacher, held_out):
    """Return the figures of `measure` for the student in a folder on the texts ``held_out``."""
    vectors = [
        encode_by_role(encoder, held_out.texts, held_out.roles, source="test")
        for encoder in (open_student(student, "cpu"), teacher)
    ]
    return dataclasses.asdict(measure(*vectors))


def is_close(entry, expected):
    return {name: entry[name] for name in expected} == pytest.approx(expected, abs=1e-4)


@pytest.fixture
def held_out(request, texts_file, valid_file):
    """The option ``valid`` and the texts that it holds out: those of a file, or a split of the training texts."""
    if request.param == "file":
        return valid_file, distinct_texts(valid_file, TextOptions())
    return None, read_corpus(texts_file, TextOptions(), seed=0).valid


@pytest.mark.parametrize("held_out", ["file", "split"], indirect=True)
@pytest.mark.parametrize("head", ["ridge", "random"])
def test_the_first_entry_of_the_history_measures_the_start_on_the_held_out_texts(held_out, head, teacher, distil):
    valid, texts = held_out
    facts = distil(teacher=teacher, valid=valid, epochs=0, head=head, store_dtype="float32", device="cpu")
    (entry,) = facts.training["history"]
    assert is_close(entry, figures(facts.path, teacher, texts))


@pytest.mark.parametrize("keep", ["best", "last"])
def test_later_entries_measure_the_student_of_their_step_on_the_held_out_texts(keep, valid_file, teacher, distil):
    settings = {"learning_rate": 1e-3, "head": "random", "store_dtype": "float32", "device": "cpu"}
    facts = distil(teacher=teacher, valid=valid_file, keep=keep, epochs=3, valid_every=10, **settings)
    history, kept = facts.training["history"], facts.training["best"]
    assert kept in history[1:]
    assert is_close(kept, figures(facts.path, teacher, distinct_texts(valid_file, TextOptions())))


def test_every_checkpoint_has_the_figures_of_its_own_weights(valid_file, teacher, distil, tmp_path, monkeypatch):
    """At a constant learning rate, a shorter training gives the student that a longer training had at that step."""
    settings = {"learning_rate": 1e-3, "final_learning_rate": 1e-3, "warmup": 0.0, "head": "random", "keep": "last"}
    settings |= {"teacher": teacher, "valid": valid_file, "store_dtype": "float32", "device": "cpu", "valid_every": 13}
    longer = distil(epochs=3, out=tmp_path / "longer", **settings).training["history"]
    texts = distinct_texts(valid_file, TextOptions())
    for epochs in (1, 2):
        shorter = distil(epochs=epochs, out=tmp_path / f"{epochs}", **settings)
        assert is_close(longer[epochs], figures(shorter.path, teacher, texts))
