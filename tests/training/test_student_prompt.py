"""Trainings of a student that reads other prompts than its teacher."""

import logging

import numpy
import pytest

from leafkit.teachers.open import open_teacher
from leafkit.training.data import TokenFile, write_tokens
from tests.fixtures.students import new_student


@pytest.mark.parametrize(
    ("spec", "around"), [("teacher:layers=1", ("[CLS]", "[SEP]")), ("static:dim=8", ())], ids=["bert", "table"]
)
def test_training_reads_the_token_of_the_role_before_the_tokens_of_the_text(spec, around, tiny_teacher, tmp_path):
    teacher = open_teacher(tiny_teacher, compute="float32")
    student = new_student(spec, teacher, tiny_teacher, prompt="token")
    write_tokens(tmp_path, student, ["list files", "a disk"], ["query", "document"], max_length=None)
    tokens = TokenFile(tmp_path, student.layout)
    vocabulary = student.tokenizer.get_vocab()
    first, last = [list(part) for part in (around[:1], around[1:])]
    words = [["[MASK]", "list", "file", "##s"], ["a", "disk"]]
    for row, text in enumerate(words):
        ids = tokens.features(numpy.array([row]))["input_ids"].flatten().tolist()
        assert ids == [vocabulary[token] for token in [*first, *text, *last]]


def test_a_student_that_is_trained_further_reads_what_the_option_says(distil, tmp_path, caplog):
    first = distil(out=tmp_path / "first", epochs=0, student_prompt="token")
    assert first.prompts == {"query": "[MASK]", "document": ""}
    assert first.training["recipe"]["student_prompt"] == "token"
    with caplog.at_level(logging.WARNING, "leafkit"):
        kept = distil(student=str(first.path), out=tmp_path / "kept", epochs=0, student_prompt="token")
        assert "reads the prompts" not in caplog.text
        changed = distil(student=str(first.path), out=tmp_path / "changed", epochs=0)
    assert kept.prompts == first.prompts
    assert changed.prompts == {"query": "search: ", "document": ""}
    assert {facts.space for facts in (kept, changed)} == {first.space}
    assert "it reads the prompts query 'search: '. The student that it starts from reads query '[MASK]'" in caplog.text
