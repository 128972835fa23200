"""Swing: private texts have flat, noisy targets that lose their pull, instead of pulling the logits together."""

import contextlib

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.objectives.swing import (
    Swing,
    divergence,
    find_private,
    fixed_noise,
    noisy_target,
    release,
    target_weight,
    text_score,
    word_rarities,
)
from leafkit.methods.plan import make_plan

SECRET = "my code is 4711-0815"


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def swing_state(make_setting):
    """A function that builds a swing for texts of which every third one holds a secret."""

    def build(swing, **fields):
        texts_of = fields.pop("texts_of", lambda rows: [SECRET if row % 3 == 0 else "a plain text" for row in rows])
        setting = make_setting(texts_of=texts_of, **fields)
        return swing.build(setting), setting

    return build


def test_without_private_words_and_noise_swing_is_leaf_with_hintons_loss(make_batch, swing_state):
    swing = Swing(count=8, temperature=3.0, soft=0.5)
    state, _ = swing_state(swing, texts_of=lambda rows: ["a plain text"] * len(rows))
    batch = make_batch()
    losses = swing.terms(batch, state)
    torch.testing.assert_close(losses["release"], (batch.student - batch.teacher).norm(dim=-1))
    teacher, student = (
        state.anchors.logits(vectors).double().detach().numpy() / 3 for vectors in (batch.teacher, batch.student)
    )
    p, q = (numpy.exp(z) / numpy.exp(z).sum(axis=1, keepdims=True) for z in (teacher, student))
    hinton = 3**2 * (p * numpy.log(p / q)).sum(axis=1)
    assert losses["soft"].detach().numpy() == pytest.approx(0.5 * hinton, rel=1e-4)


def test_with_the_factor_t_squared_a_hot_divergence_is_full_logit_matching():
    teacher, student = draw(5, 7), draw(5, 7, seed=1)
    hot = 1e3
    centred = [logits - logits.mean(dim=-1, keepdim=True) for logits in (student, teacher)]
    limit = (centred[0] - centred[1]).square().sum(dim=-1) / (2 * 7)
    with_factor = hot**2 * divergence((teacher / hot).softmax(dim=-1), student / hot)
    torch.testing.assert_close(with_factor, limit, rtol=5e-3, atol=0)


def test_without_the_factor_the_loss_and_its_gradient_vanish_as_the_temperature_grows():
    teacher = draw(5, 7)
    found = []
    for hot in (10.0, 100.0, 1000.0):
        student = draw(5, 7, seed=1).requires_grad_()
        loss = target_weight(torch.ones(5), 2.0) * divergence((teacher / hot).softmax(dim=-1), student / hot)
        loss.sum().backward()
        found.append((float(loss.detach().sum()), float(student.grad.norm())))
    (first, _), (second, _), (third, gradient) = found
    assert second == pytest.approx(first / 100, rel=0.2)
    assert third == pytest.approx(second / 100, rel=0.05)
    assert gradient < 1e-5


def test_the_weight_is_hintons_factor_for_public_texts_and_1_for_private_ones():
    weights = target_weight(torch.tensor([0.0, 0.5, 1.0]), 3.0)
    torch.testing.assert_close(weights, torch.tensor([9.0, 5.0, 1.0]))


def test_a_noisy_target_is_a_distribution_close_to_the_clean_one_on_average():
    clean = draw(1, 6).softmax(dim=-1)
    draws = noisy_target(clean.expand(20_000, 6), 0.005 * draw(20_000, 6, seed=1))
    assert (draws >= 0).all()
    torch.testing.assert_close(draws.sum(dim=-1), torch.ones(20_000, dtype=torch.float64))
    assert (draws.mean(dim=0) - clean[0]).abs().max() < 0.0005
    assert draws.std(dim=0).min() > 0.002


def test_noise_that_leaves_nothing_gives_a_uniform_target():
    torch.testing.assert_close(
        noisy_target(torch.full((1, 4), 0.25), torch.full((1, 4), -9.0)), torch.full((1, 4), 0.25)
    )


def test_the_noise_of_a_text_is_the_same_in_every_step_and_differs_between_texts_and_seeds():
    one, other = fixed_noise([3, 5], 0, 50), fixed_noise([5, 9], 0, 50)
    assert torch.equal(one[1], other[0])
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one, fixed_noise([3, 5], 1, 50))


def test_released_vectors_are_unit_vectors_farther_off_the_higher_the_score():
    teacher = torch.nn.functional.normalize(draw(300, 64), dim=-1).repeat(3, 1)
    scores = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64).repeat_interleave(300)
    released = release(teacher, scores, draw(900, 64, seed=1))
    torch.testing.assert_close(released.norm(dim=-1), torch.ones(900, dtype=torch.float64))
    cosines = (released * teacher).sum(dim=-1).reshape(3, 300).mean(dim=1)
    # Noise of length r at a right angle turns a unit vector by atan(r).
    assert cosines.tolist() == pytest.approx([1.0, 1 / (1 + 0.3**2) ** 0.5, 1 / 2**0.5], abs=0.01)
    assert torch.equal(released[:300], teacher[:300])


def test_a_private_text_has_no_release_loss_and_a_loss_that_ignores_its_teacher_as_the_temperature_grows(
    make_batch, swing_state
):
    swing = Swing(count=8, hottest=1e5, private_noise=0)
    state, setting = swing_state(swing)
    assert state.scores.tolist() == [1.0, 0.0, 0.0] * 40
    batch = make_batch(range(6), setting=setting)
    losses = swing.terms(batch, state)
    assert losses["release"][[0, 3]].tolist() == [0, 0]
    assert losses["release"][[1, 2, 4, 5]].min() > 0
    assert losses["soft"][[0, 3]].max() < 1e-6
    assert losses["soft"][[1, 2, 4, 5]].min() > 1e-3


def test_the_anchors_are_fitted_to_texts_without_private_words(swing_state, make_setting):
    asked, whole = set(), make_setting()

    def targets(rows):
        asked.update(rows.tolist())
        return whole.targets(rows)

    swing_state(Swing(count=8), targets=targets)
    assert asked == {row for row in range(120) if row % 3}


@pytest.mark.parametrize("public", [1, 2])
def test_fewer_than_two_public_texts_are_refused(public, make_setting):
    setting = make_setting(texts_of=lambda rows: [SECRET if row >= public else "a plain text" for row in rows])
    expected = pytest.raises(OptionError, match="only 1 of 120 texts without private words")
    with expected if public == 1 else contextlib.nullcontext():
        Swing().check(setting)


def test_the_check_reads_no_more_texts_than_it_needs(make_setting):
    asked = []
    Swing().check(make_setting(texts_of=lambda rows: (asked.append(row) or f"plain {row}" for row in rows)))
    assert asked == [0, 1]
    Swing(weight=0).check(make_setting(texts_of=None))


def test_without_a_public_text_those_of_the_lowest_score_count(make_setting):
    def check(*words):
        texts = {row: f"{SECRET} {words[row]}" if row < len(words) else SECRET for row in range(120)}
        Swing(reduction="mean").check(make_setting(texts_of=lambda rows: [texts[row] for row in rows]))

    check("please", "please")
    with pytest.raises(OptionError, match="only 1 of 120"):
        check("please", "please keep it")


def test_a_weight_of_0_reads_no_text(make_batch, swing_state):
    swing = Swing(weight=0.0)
    state, _ = swing_state(swing, texts_of=None)
    assert swing.terms(make_batch(), state) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail jo.doe+x@mail.example.org today", [("email", "jo.doe+x@mail.example.org")]),
        ("call +44 20 7946 0958, or (555) 123 4567", [("phone", "+44 20 7946 0958"), ("phone", "(555) 123 4567")]),
        ("SSN 123-45-6789", [("id", "123-45-6789")]),
        ("pay to DE89 3704 0044 0532 0130 00 please", [("id", "DE89 3704 0044 0532 0130 00")]),
        ("my code is 4711-0815", [("code", "4711-0815")]),
        ("token x7k9q2zz, pin 483920", [("code", "x7k9q2zz"), ("number", "483920")]),
        ("on 2019-12-31 there were 10,000 people (1870-1916), 12.05.2001", []),
        ("IL-6, BRCA1, COVID-19 and p53 in 95% of 300 mice", []),
    ],
)
def test_private_words_are_found_by_their_form(text, expected):
    assert [(kind, text[start:end]) for kind, start, end in find_private(text)] == expected


def test_long_texts_without_private_words_are_read_in_linear_time():
    for text in ("a" * 200_000, "a." * 100_000, "1 " * 100_000, "1-" * 100_000):
        assert list(find_private(text))[1:] == []


def test_the_score_of_a_text_is_the_largest_or_the_mean_over_its_words():
    text = "call +44 20 7946 0958 now"
    assert text_score(text, "max", {}, 0.0) == 1
    assert text_score(text, "mean", {}, 0.0) == pytest.approx(4 / 6)
    assert text_score("a plain text", "max", {}, 0.0) == text_score("", "mean", {}, 0.0) == 0


def test_rare_words_score_by_their_frequency():
    rarities = word_rarities(iter(["the the the the", "the the the once"]))
    assert rarities == {"the": pytest.approx(1 - numpy.log(7) / numpy.log(8)), "once": 1.0}
    assert text_score("the once", "max", rarities, 0.5) == 0.5
    assert text_score("the unseen", "mean", {"the": 0.2}, 1.0) == pytest.approx(0.1)


def test_with_rarity_the_scores_come_from_the_counts_of_all_training_texts(swing_state):
    texts = ["common common"] * 119 + ["common strange"]
    state, _ = swing_state(Swing(count=8, rarity=0.8), texts_of=lambda rows: [texts[row] for row in rows])
    assert state.scores[-1] == pytest.approx(0.8)
    assert state.scores[:-1].max() < 0.01


@pytest.mark.parametrize(
    "field",
    [
        {"temperature": 0.0},
        {"hottest": 1.0},
        {"noise": -0.1},
        {"private_noise": -0.1},
        {"spread": -1.0},
        {"soft": -1.0},
        {"reduction": "sum"},
        {"rarity": 1.1},
        {"count": 1},
    ],
)
def test_invalid_options_are_refused(field):
    with pytest.raises(OptionError, match=f"swing:{next(iter(field))} is .*; expected"):
        Swing(**field)


def test_swing_excludes_feeds_that_mix_texts():
    with pytest.raises(OptionError, match="swing stores what it knows of each text, but mixup mixes"):
        make_plan(["swing"], feeds=["mixup"])
