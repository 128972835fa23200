"""The laboratory with a tiny model: features and vectors come from the model once and then from the disk."""

import numpy
import pytest
import torch

from eval.mechanism.lab import Lab
from leafkit.teachers.open import open_teacher
from tests.eval.mechanism.test_texts import write_lines


@pytest.fixture(scope="module")
def lab(sentences, tiny_teacher, tmp_path_factory):
    """A laboratory with sixty sentences of four classes."""
    folder = tmp_path_factory.mktemp("lab")
    rows = [{"text": text, "label": f"class {row % 4}"} for row, text in enumerate(dict.fromkeys(sentences[:60]))]
    write_lines(folder / "bench" / "banking77" / "train.jsonl.gz", rows)
    return Lab(str(tiny_teacher), data=folder, cache=folder / "cache")


def test_vectors_are_the_teachers_and_features_are_standardised(lab, tiny_teacher):
    texts = lab.all_texts("banking77")
    expected = open_teacher(str(tiny_teacher)).encode(list(texts.texts), "query")
    assert numpy.allclose((texts.vectors * expected).sum(axis=1), numpy.linalg.norm(expected, axis=1), atol=1e-3)
    assert numpy.allclose(texts.features.mean(axis=0), 0, atol=1e-4)
    assert numpy.allclose(texts.features.std(axis=0), 1, atol=1e-3)
    assert set(texts.labels) == {0, 1, 2, 3}


@torch.inference_mode()
def test_features_are_mean_states_after_the_layer(lab, tiny_teacher):
    model = open_teacher(str(tiny_teacher)).model
    text = lab.all_texts("banking77").texts[0]
    tokens = model.tokenizer([text], return_tensors="pt")
    states = model[0].auto_model.float()(**tokens, output_hidden_states=True).hidden_states
    raw = lab._computed([text, "a much longer text than the other one"], 2)
    assert numpy.allclose(raw[0][0], states[2][0].mean(dim=0), atol=1e-3)
    assert raw[1][0] == tokens["input_ids"].shape[1]


def test_a_second_laboratory_computes_nothing(lab, monkeypatch):
    first = lab.all_texts("banking77", 1)
    second = Lab(lab.teacher, data=lab._data, cache=lab._cache)
    monkeypatch.setattr(second, "_computed", None)
    monkeypatch.setattr(second._encoder(lab.teacher).teacher, "encode", None)
    assert numpy.array_equal(second.all_texts("banking77", 1).vectors, first.vectors)
    assert numpy.array_equal(second.all_texts("banking77", 1).features, first.features)


def test_other_targets_and_labels_replace_those_of_the_texts(lab):
    train, held_out = lab.texts("banking77", seed=0, train=40, held_out=10)
    turned = numpy.roll(train.vectors, 1, axis=1)
    job = {"steps": 10, "batch_size": 8, "width": 8}
    plain, other = (lab.train(["leaf"], train, targets=targets, **job) for targets in (None, turned))
    assert not numpy.allclose(plain.encode(held_out), other.encode(held_out), atol=0.1)
    by_class = ["leaf", "nd:anchors=labels,weight=0.5"]
    merged = lab.train(by_class, train, labels=train.labels % 2, **job)
    assert merged.states["nd"].centres.shape[0] == 2


def test_a_student_of_a_token_table_reads_the_mean_of_its_tokens(lab):
    texts = lab.table_texts("banking77")
    watched = []
    job = {"steps": 7, "batch_size": 8, "width": 8, "watch": watched.append, "watch_every": 3}
    student = lab.train(["leaf"], texts, **job).student
    tokens = [texts.tokens[row] for row in (4, 9)]
    features = {"input_ids": torch.from_numpy(numpy.concatenate(tokens)), "offsets": torch.tensor([0, len(tokens[0])])}
    assert numpy.allclose(student(features).student.detach(), student.encode(texts.features[[4, 9]]), atol=1e-5)
    # Before the steps 0, 3 and 6, and at the end.
    assert len(watched) == 4


def test_a_feed_can_change_the_tokens_of_a_token_table(lab):
    texts = lab.table_texts("banking77")
    job = {"steps": 10, "batch_size": 8, "width": 8}
    plain, mixed = (lab.train(methods, texts, **job).encode(texts) for methods in (["leaf"], ["leaf", "mixup:share=1"]))
    assert not numpy.allclose(plain, mixed, atol=1e-3)
