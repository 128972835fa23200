"""KD^3: selection by combined confidence, a shared head, aligned features, and views with mixed statistics."""

import itertools

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.feeds.kd3 import Kd3, combined, importance, info_nce, mix_distribution, select
from leafkit.methods.plan import make_plan
from leafkit.methods.setting import Pool


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def masked(lengths, width=5, seed=0):
    """Token embeddings of texts with these ``lengths``, with junk as padding, and their mask."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return draw(len(lengths), max(lengths), width, seed=seed), mask


def statistics(embeddings, mask):
    rows = [states[own] for states, own in zip(embeddings, mask, strict=True)]
    return torch.stack([row.mean(dim=0) for row in rows]), torch.stack([row.std(dim=0, correction=0) for row in rows])


def selection(rho, setting, **fields):
    kd3 = Kd3(rho=rho, count=4, **fields)
    state = kd3.build(setting)
    kd3.refresh(state, setting, 0)
    return state.selected


def test_mixing_with_a_ratio_of_1_is_the_identity():
    embeddings, mask = masked([7, 3, 1])
    assert torch.equal(mix_distribution(embeddings, mask, torch.tensor([1, 2, 0]), torch.ones(3)), embeddings)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_mean_and_deviation_over_the_tokens_are_convex_combinations(share):
    embeddings, mask = masked([7, 4, 5])
    partner = torch.tensor([2, 0, 1])
    mixed = mix_distribution(embeddings, mask, partner, torch.full((3,), share, dtype=torch.float64))
    before, after = statistics(embeddings, mask), statistics(mixed, mask)
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, share * old + (1 - share) * old[partner])


def test_mixing_keeps_the_order_of_each_channel_and_passes_gradients_with_fixed_statistics():
    embeddings, mask = masked([6, 6])
    embeddings.requires_grad_()
    mixed = mix_distribution(embeddings, mask, torch.tensor([1, 0]), torch.tensor([0.4, 0.4]))
    assert torch.equal(mixed.argsort(dim=1), embeddings.argsort(dim=1))
    mixed.sum().backward()
    (_, old), (_, new) = statistics(embeddings.detach(), mask), statistics(mixed.detach(), mask)
    torch.testing.assert_close(embeddings.grad, (new / old)[:, None].expand_as(embeddings))


def test_a_text_of_one_token_takes_on_the_mixed_mean():
    embeddings, mask = masked([1, 6])
    embeddings.requires_grad_()
    mixed = mix_distribution(embeddings, mask, torch.tensor([1, 0]), torch.tensor([0.5, 0.5]))
    expected = (embeddings[0, 0] + embeddings[1].mean(dim=0)) / 2
    torch.testing.assert_close(mixed[0, 0], expected)
    mixed[mask].sum().backward()
    assert embeddings.grad.isfinite().all()


def test_the_shared_head_of_a_perfect_student_gives_the_teachers_logits_bit_for_bit(make_batch, make_setting):
    setting = make_setting()
    state = Kd3(count=8).build(setting)
    batch = make_batch(setting=setting)
    assert torch.equal(state.anchors.logits(batch.teacher.clone()), state.anchors.logits(batch.teacher))
    losses = Kd3(count=8).terms(make_batch(setting=setting, student=batch.teacher), state)
    assert losses["shared"].abs().max() < 1e-6
    assert losses["aligned"].abs().max() == 0


@pytest.mark.parametrize("rho", [0.2, 0.5, 0.8])
def test_with_the_teacher_as_student_the_selection_is_the_teachers(rho, make_setting):
    setting = make_setting()
    selected = selection(rho, make_setting(student=setting.targets))
    state = Kd3(count=4).build(setting)
    p = torch.softmax(state.anchors.logits(torch.from_numpy(setting.targets(numpy.arange(120)))), dim=-1)
    for label in range(4):
        of_label = p.argmax(dim=-1) == label
        confidence = p.amax(dim=-1)[of_label].double()
        assert torch.equal(selected[of_label], confidence >= torch.quantile(confidence, rho))


def test_a_larger_rho_selects_a_subset(make_setting):
    setting = make_setting()
    sets = [selection(rho, setting) for rho in (0.0, 0.2, 0.5, 0.9)]
    for larger, smaller in itertools.pairwise(sets):
        assert (larger | ~smaller).all()
        assert larger.sum() > smaller.sum()
    assert sets[0].all()


def test_the_selection_is_the_same_share_of_every_class():
    confidence, predicted = numpy.linspace(0, 1, 100), numpy.arange(100) // 60
    kept = select(confidence, predicted, 0.5)
    assert numpy.array_equal(kept, [*range(30, 60), *range(80, 100)])
    assert select(numpy.array([0.3, 0.9]), numpy.array([0, 1]), 0.99).tolist() == [0, 1]


def test_confidence_and_class_are_those_of_the_mean_of_both():
    teacher, student = torch.tensor([[0.6, 0.4, 0.0]]), torch.tensor([[0.0, 0.3, 0.7]])
    confidence, predicted = combined(teacher, student)
    assert (confidence.tolist(), predicted.tolist()) == (pytest.approx([0.35]), [1])


def test_at_most_the_candidates_are_considered_and_texts_are_drawn_from_the_selection(make_setting):
    looked, setting = [], make_setting()

    def student(rows):
        looked.append(len(rows))
        return setting.student(rows)

    kd3 = Kd3(count=4, candidates=50)
    state = kd3.build(setting)
    kd3.refresh(state, make_setting(student=student), 0)
    assert looked == [50]
    assert 20 <= state.selected.sum() <= 30
    weights = numpy.arange(120, dtype=numpy.float64)
    pool = kd3.feed(Pool(rows=numpy.arange(120), weights=weights), state)
    assert numpy.array_equal(pool.rows, numpy.flatnonzero(state.selected))
    assert numpy.array_equal(pool.weights, pool.rows)


def test_the_log_reports_confidence_and_domains(make_setting, caplog):
    with caplog.at_level("INFO", logger="leafkit"):
        selection(0.5, make_setting(domains=numpy.arange(120) % 2))
    assert "kd3: step 0:" in caplog.text
    assert "shares of the domains 0." in caplog.text


def test_a_dimension_that_separates_the_classes_weighs_more():
    classes = torch.arange(60) % 2
    vectors = torch.stack([classes + 0.1 * draw(60, seed=1), draw(60, seed=2)], dim=1).float()
    weights = importance(vectors, classes)
    assert float(weights.mean()) == pytest.approx(1)
    assert weights[0] > 20 * weights[1]
    assert torch.equal(importance(torch.ones(4, 3), torch.tensor([0, 0, 1, 1])), torch.ones(3))


def test_the_aligned_loss_weighs_errors_by_confidence_and_dimension(make_batch, make_setting):
    setting = make_setting()
    kd3 = Kd3(count=8, aligned=2.0)
    state = kd3.build(setting)
    batch = make_batch(setting=setting)
    with torch.no_grad():
        p, q = (torch.softmax(state.anchors.logits(one), dim=-1).numpy() for one in (batch.teacher, batch.student))
        errors = ((batch.student - batch.teacher) ** 2).numpy() @ state.importance.numpy()
    confidence = ((p + q) / 2).max(axis=1)
    expected = 2 * confidence / confidence.mean() * errors
    assert kd3.terms(batch, state)["aligned"].detach().numpy() == pytest.approx(expected, rel=1e-4)


def test_the_contrast_is_the_cross_entropy_of_the_right_partner():
    vectors, origin = draw(6, 4), torch.tensor([0, 1, 2, 2, 0, 1])
    unit = (vectors / vectors.norm(dim=-1, keepdim=True)).numpy()
    scores = unit[:3] @ unit[3:].T / 0.1
    exp = numpy.exp(scores)
    view_of = [1, 2, 0]
    of_texts = [-scores[i, view_of[i]] + numpy.log(exp[i].sum()) for i in range(3)]
    of_views = [-scores[i, view] + numpy.log(exp[:, view].sum()) for view, i in enumerate([2, 0, 1])]
    assert info_nce(vectors, origin, 0.1).numpy() == pytest.approx([*of_texts, *of_views])


def test_texts_without_a_view_have_no_contrast():
    assert info_nce(draw(4, 3), torch.arange(4), 0.1).tolist() == [0] * 4
    assert info_nce(draw(3, 3), torch.tensor([0, 1, 1]), 0.1)[0] == 0


def test_each_text_gets_a_view_with_its_target_whose_embeddings_are_mixed(make_view):
    view = make_view(range(6), step=3)
    after = Kd3().views(view, None)
    assert after.origin.tolist() == [*range(6), *range(6)]
    assert torch.equal(after.teacher, view.teacher.repeat(2, 1))
    assert torch.equal(after.features["input_ids"], view.features["input_ids"].repeat(2, 1))
    embeddings = draw(12, 7, 5)
    embeddings[6:] = embeddings[:6]
    shifted = after.embed(embeddings)
    assert torch.equal(shifted[:6], embeddings[:6])
    assert not torch.isclose(shifted[6:], embeddings[:6]).all(dim=(1, 2)).any()
    again = Kd3().views(view, None).embed(embeddings)
    assert torch.equal(shifted, again)


def test_a_change_of_embeddings_that_was_there_before_is_kept(make_view):
    view = make_view(range(3), embed=lambda embeddings: embeddings + 1)
    after = Kd3().views(view, None)
    assert torch.equal(after.embed(torch.zeros(6, 7, 2)), torch.ones(6, 7, 2))


@pytest.mark.parametrize("fields", [{"contrast": 0.0}, {"weight": 0.0}])
def test_without_contrast_there_are_no_views(fields, make_view):
    view = make_view()
    assert Kd3(**fields).views(view, None) is view


def test_a_token_table_is_refused_only_for_shifted_views(make_setting):
    with pytest.raises(OptionError, match="a token table has no layers"):
        Kd3(count=8).check(make_setting(depth=0))
    Kd3(count=8, contrast=0.0).check(make_setting(depth=0))


def test_the_disabled_method_does_nothing(make_setting):
    kd3, setting = Kd3(**Kd3.off), make_setting(targets=None, student=None)
    state = kd3.build(setting)
    kd3.refresh(state, setting, 0)
    pool = Pool(rows=numpy.arange(120))
    assert kd3.feed(pool, state) is pool
    assert not list(state.parameters())


def test_feeds_that_mix_texts_are_excluded():
    with pytest.raises(OptionError, match="kd3 stores what it knows of each text, but mixup mixes"):
        make_plan(feeds=["kd3", "mixup"])


@pytest.mark.parametrize(
    "field",
    [
        {"every": -1},
        {"rho": 1.0},
        {"shared": -1.0},
        {"aligned": -1.0},
        {"contrast": -1.0},
        {"temperature": 0.0},
        {"beta": 0.0},
        {"candidates": 0},
        {"anchors": "words"},
        {"count": 1},
    ],
)
def test_invalid_options_are_refused(field):
    with pytest.raises(OptionError, match=f"kd3:{next(iter(field))} is .*; expected"):
        Kd3(**field)
