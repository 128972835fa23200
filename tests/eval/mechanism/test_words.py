"""Texts as words: the student's states of words, and those of the teacher in a training."""

from dataclasses import replace

import numpy
import pytest
import torch

from eval.mechanism.figures import cosine
from eval.mechanism.lab import Lab
from eval.mechanism.talking import padded, token_texts, train_tokens
from eval.mechanism.training import Job
from eval.mechanism.words import WordEmbeddings, WordStudent, train_words, word_mask, word_texts
from leafkit.teachers.open import open_teacher
from leafkit.training.live import LiveTeacher
from leafkit.vectors.cosine import unit_rows

JOB = Job(steps=40, batch_size=16, width=10)


@pytest.fixture
def words(texts):
    """The texts with features of up to five words, and the teacher's states of six numbers for each."""
    draw = numpy.random.default_rng(3)
    features = draw.standard_normal((len(texts), 5, 12)).astype(numpy.float32)
    features *= (numpy.arange(5) < texts.lengths[:, None] - 2)[..., None]
    return replace(texts, features=features), draw.standard_normal((len(texts), 5, 6)).astype(numpy.float32)


def test_the_head_reads_the_mean_of_the_words_without_padding():
    student = WordStudent(4, width=6, depth=2, dim=3, seed=0)
    text = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
    padded = torch.cat([text, torch.zeros(1, 2, 4)], dim=1)
    short, long = student.outputs(text), student.outputs(padded)
    torch.testing.assert_close(short.student, long.student)
    torch.testing.assert_close(short.hidden, short.tokens.mean(dim=1))
    assert [len(each.layers) for each in (short, long)] == [len(short.states), len(long.states)] == [2, 2]
    torch.testing.assert_close(short.layers[0], short.states[0].mean(dim=1))


def test_a_second_student_reads_the_same_features(words):
    texts, taught = words
    texts = replace(texts, vectors=unit_rows(texts.features.sum(axis=1)[:, :8]))
    trained = train_words(["leaf", "hfd:count=8,width=16"], texts, taught, JOB)
    features = torch.from_numpy(texts.features)
    peer = trained.states["hfd"].peer(features, word_mask(features)).vectors.detach().numpy()
    assert cosine(peer, texts.vectors) > cosine(numpy.roll(peer, 1, axis=0), texts.vectors) + 0.1
    with pytest.raises(ValueError, match="the layer is 1; expected 0"):
        WordEmbeddings().states({}, 1)


def test_the_whole_teacher_takes_part_in_the_steps(texts, tiny_teacher, sentences):
    live = LiveTeacher(open_teacher(str(tiny_teacher)).model, "float32")
    texts = replace(texts.choose(numpy.arange(60)), texts=tuple(dict.fromkeys(sentences))[:60])
    texts = replace(texts, vectors=live.vectors(padded(token_texts(live, texts).tokens)).numpy())
    texts = token_texts(live, texts)
    means = [features[: len(ids)].mean(axis=0) for features, ids in zip(texts.features, texts.tokens, strict=True)]
    assert not any(features[len(ids) :].any() for features, ids in zip(texts.features, texts.tokens, strict=True))
    numpy.testing.assert_allclose(numpy.average(means, axis=0, weights=[*map(len, texts.tokens)]), 0, atol=1e-4)
    job = replace(JOB, steps=5, depth=2)
    plain, talking = (
        train_tokens(methods, texts, live, job).encode(texts) for methods in (["leaf"], ["leaf", "talking"])
    )
    assert not numpy.allclose(plain, talking, atol=1e-4)


def test_methods_that_read_tokens_train_on_words(words):
    texts, taught = words
    plain = train_words(["leaf"], texts, taught, JOB).encode(texts)
    beside = train_words(["leaf", "trg:weight=1,words=3,neighbours=4"], texts, taught, JOB).encode(texts)
    other = train_words(["leaf", "trg:weight=1,words=3,neighbours=4"], texts, taught[::-1].copy(), JOB).encode(texts)
    assert not numpy.allclose(plain, beside, atol=1e-3)
    assert not numpy.allclose(other, beside, atol=1e-3)


@torch.inference_mode()
def test_states_of_words_are_those_of_the_teacher_without_special_tokens(texts, tiny_teacher, sentences):
    texts = replace(texts.choose(numpy.arange(3)), texts=tuple(sentences[:3]))
    read, taught = word_texts(Lab(str(tiny_teacher)), texts)
    model = open_teacher(str(tiny_teacher)).model
    states = model[0].auto_model.float()(**model.tokenizer([sentences[1]], return_tensors="pt"))
    expected = states.last_hidden_state[0, 1:-1][:24].numpy()
    assert numpy.allclose(taught[1, : len(expected)], expected, atol=1e-3)
    assert not taught[1, len(expected) :].any()
    assert (read.features[1] != 0).any(axis=-1).sum() == len(expected)
