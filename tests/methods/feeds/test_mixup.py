"""Mixup: the draw, the splice of tokens, the blend of vectors and the relation loss."""

import dataclasses
from itertools import chain

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.feeds.mixup import Mixup, relation, splice
from leafkit.training.live import retarget


def flat(lists):
    starts = numpy.cumsum([0, *map(len, lists[:-1])])
    return {"input_ids": torch.tensor([*chain.from_iterable(lists)]), "offsets": torch.from_numpy(starts)}


def padded(lists, *, left=False, pad=0):
    width = max(map(len, lists))
    rows = [[pad] * (width - len(row)) + row if left else row + [pad] * (width - len(row)) for row in lists]
    mask = [
        [0] * (width - len(row)) + [1] * len(row) if left else [1] * len(row) + [0] * (width - len(row))
        for row in lists
    ]
    kinds = [[own * (place % 2) for place, own in enumerate(row)] for row in mask]
    return {
        "input_ids": torch.tensor(rows),
        "attention_mask": torch.tensor(mask),
        "token_type_ids": torch.tensor(kinds),
    }


def texts(features):
    ids = features["input_ids"]
    if "offsets" in features:
        return [part.tolist() for part in ids.tensor_split(features["offsets"][1:])]
    return [row[own.bool()].tolist() for row, own in zip(ids, features["attention_mask"])]


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def mixed(view, **fields):
    mixup = Mixup(**fields)
    return mixup.views(view, mixup.build(None))


def mixed_at(view, ratios, partners, **fields):
    """The view after a splice with the given ratios and partners."""
    mixup = Mixup(share=1.0, **fields)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Mixup, "draw", lambda self, view: (ratios, partners))
        return mixup.views(view, None)


def changed(view, after):
    return ~(view.teacher == after.teacher).all(dim=1)


def test_a_share_of_zero_returns_the_same_view(make_view, make_batch):
    view = make_view()
    assert mixed(view, **Mixup.off) is view
    assert mixed(view, share=0.0, pmu_legacy=True) is view
    assert Mixup(**Mixup.off).terms(make_batch(), None) == {}


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_ratio_of_one_leaves_every_bit_of_the_view(share, make_view, monkeypatch):
    monkeypatch.setattr(Mixup, "draw", lambda self, view: (numpy.ones(len(view.rows)), numpy.arange(8)[::-1].copy()))
    view = make_view()
    after = mixed(view, share=share)
    assert same(view.features, after.features)
    assert torch.equal(view.teacher, after.teacher)
    assert torch.equal(view.labels, after.labels)


@pytest.mark.parametrize("lists", [[[1, 2, 3], [4], [], [5, 6]]])
def test_a_ratio_of_one_leaves_flat_texts(lists):
    assert same(splice(flat(lists), numpy.ones(4), numpy.array([3, 2, 1, 0])), flat(lists))


def test_without_the_relation_loss_there_are_no_losses(make_batch):
    assert Mixup().terms(make_batch(), None) == {}


@pytest.mark.parametrize(("share", "count"), [(0.1, 1), (0.25, 2), (0.4, 3), (0.5, 4), (1.0, 8)])
def test_exactly_the_share_of_texts_is_spliced(share, count, make_view):
    for step in range(20):
        ratio, _ = Mixup(share=share).draw(make_view(step=step))
        assert (ratio < 1).sum() == count


def test_with_pmu_legacy_a_share_of_a_tenth_splices_two_fifths(make_view):
    rows = [
        (Mixup(share=0.1, pmu_legacy=True).draw(make_view(range(64), step=step))[0] < 1).mean() for step in range(200)
    ]
    assert numpy.mean(rows) == pytest.approx(0.41, abs=0.01)


def test_the_ratio_is_uniform_for_beta_one_and_near_0_or_1_for_small_beta(make_view):
    def drawn(beta):
        return numpy.concatenate([Mixup(share=1.0, beta=beta).draw(make_view(range(64), step=i))[0] for i in range(50)])

    assert numpy.quantile(drawn(1.0), [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.03)
    assert numpy.quantile(drawn(0.05), [0.25, 0.75]) == pytest.approx([0, 1], abs=0.01)


def test_the_draw_depends_on_seed_and_step(make_view):
    one = mixed(make_view(), share=1.0)
    assert same(one.features, mixed(make_view(), share=1.0).features)
    for other in (make_view(step=1), make_view(seed=1)):
        assert not torch.equal(one.teacher, mixed(other, share=1.0).teacher)


def test_the_draw_does_not_depend_on_the_order_of_the_batch(make_view):
    order = [3, 1, 7, 0, 2, 6, 5, 4]
    one, two = mixed(make_view(), share=0.5), mixed(make_view(order), share=0.5)
    assert torch.equal(one.teacher[order], two.teacher)
    assert [texts(one.features)[row] for row in order] == texts(two.features)


def test_the_target_is_the_blend_with_the_norm_of_the_teachers_vectors(make_view):
    view = make_view()
    for scale in (1.0, 3.0):
        given = dataclasses.replace(view, teacher=scale * view.teacher)
        ratio, partner = Mixup(share=1.0).draw(given)
        a = torch.from_numpy(ratio).float()[:, None]
        blend = a * given.teacher + (1 - a) * given.teacher[partner]
        after = mixed(given, share=1.0).teacher
        if scale == 1:
            assert after.norm(dim=1).tolist() == pytest.approx([1.0] * 8)
            blend = torch.nn.functional.normalize(blend, dim=1)
        torch.testing.assert_close(after, blend)


def test_the_blend_of_opposite_vectors_is_finite(make_view):
    view = make_view(range(2))
    view = dataclasses.replace(view, teacher=torch.stack([view.teacher[0], -view.teacher[0]]))
    for step in range(10):
        assert mixed(dataclasses.replace(view, step=step), share=1.0).teacher.isfinite().all()


def test_the_blend_equals_the_vector_of_a_teacher_that_averages_tokens():
    # For texts of equal length and a teacher that averages token vectors, text mode equals target mode.
    table = torch.randn(40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def teach(features):
        return torch.stack([table[row].mean(dim=0) for row in texts(features)])

    lists = [[row] * 10 for row in range(6)]
    ratio, partner = numpy.array([0.1, 0.3, 0.5, 0.7, 0.9, 1.0]), numpy.array([3, 2, 5, 0, 1, 4])
    a = torch.from_numpy(ratio)[:, None]
    vectors = teach(flat(lists))
    torch.testing.assert_close(teach(splice(flat(lists), ratio, partner)), a * vectors + (1 - a) * vectors[partner])


def test_hand_values():
    ratio, partner = numpy.array([0.5, 0.25, 1.0]), numpy.array([1, 0, 0])
    one, two, three = [1, 10, 11, 12, 2], [1, 20, 21, 22, 23, 2], [1, 30, 2]
    expected = [[1, 10, 11, 22, 23, 2], [1, 20, 11, 12, 2], [1, 30, 2]]
    for left in (False, True):
        features = padded([one, two, three], left=left, pad=9)
        after = splice(features, ratio, partner)
        assert texts(after) == expected
        assert after["input_ids"].tolist() == padded(expected, left=left, pad=9)["input_ids"].tolist()
        assert after["attention_mask"].tolist() == padded(expected, left=left)["attention_mask"].tolist()
    assert texts(splice(flat([[10, 11, 12], [20, 21, 22, 23], [30]]), ratio, partner)) == [
        [10, 11, 22, 23],
        [20, 11, 12],
        [30],
    ]


def test_token_type_ids_move_with_their_tokens():
    features = padded([[1, 10, 11, 2], [1, 20, 21, 22, 2]])
    features["token_type_ids"] = 100 * features["input_ids"]
    after = splice(features, numpy.array([0.3, 0.6]), numpy.array([1, 0]))
    assert torch.equal(after["token_type_ids"], 100 * after["input_ids"])


def test_features_of_other_shapes_are_unchanged():
    features = padded([[1, 10, 2], [1, 20, 2]]) | {"prompt_length": torch.tensor([1, 1])}
    assert torch.equal(splice(features, numpy.full(2, 0.5), numpy.array([1, 0]))["prompt_length"], torch.tensor([1, 1]))


@pytest.mark.parametrize("layout", ["flat", "left", "right"])
def test_no_splice_is_longer_than_both_texts_and_a_text_with_itself_is_unchanged(layout):
    draw = numpy.random.default_rng(0)
    for _ in range(100):
        lists = [draw.integers(3, 99, size=draw.integers(2, 12)).tolist() for _ in range(6)]
        features = flat(lists) if layout == "flat" else padded(lists, left=layout == "left")
        ratio, partner = draw.beta(0.2, 0.2, size=6), draw.permutation(6)
        after = texts(splice(features, ratio, partner))
        for row, (text, other) in enumerate(zip(after, partner)):
            assert 1 <= len(text) <= max(len(lists[row]), len(lists[other]))
            if layout != "flat":
                assert (text[0], text[-1]) == (lists[row][0], lists[other][-1])
        assert same(splice(features, ratio, numpy.arange(6)), features)


@pytest.mark.parametrize("lists", [[[1], [1, 2], [1, 7, 2]], [[1, 2], [1, 2], [1, 2]]])
def test_empty_texts_are_spliced_without_error(lists):
    for partner in ([1, 2, 0], [2, 0, 1], [0, 1, 2]):
        for text, before in zip(texts(splice(padded(lists), numpy.full(3, 0.5), numpy.array(partner))), lists):
            assert text[0] == before[0]
            assert len(text) <= 3
    empty = splice(flat([[], [5], []]), numpy.full(3, 0.5), numpy.array([2, 0, 1]))
    assert texts(empty) == [[], [5], []]


def test_a_batch_of_one_text_is_unchanged(make_view):
    view = make_view([5])
    after = mixed(view, share=1.0)
    assert same(view.features, after.features)
    torch.testing.assert_close(view.teacher, after.teacher)


def test_a_spliced_text_keeps_row_and_role_and_a_shared_label(make_view):
    view = make_view(range(40))
    after = mixed(view, share=0.5)
    ratio, partner = Mixup(share=0.5).draw(view)
    lost = torch.from_numpy(ratio < 1) & (view.labels != view.labels[partner])
    assert 0 < int(lost.sum()) <= 20
    assert after.labels[lost].eq(-1).all()
    assert torch.equal(after.labels[~lost], view.labels[~lost])
    assert torch.equal(after.rows, view.rows)
    assert torch.equal(after.roles, view.roles)
    assert changed(view, after)[lost].all()


def test_the_relation_loss_ignores_scale_and_shift_of_logits():
    draw = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 7, generator=draw, dtype=torch.float64)
    for scale, height in ((2.0, 0.0), (0.01, 5.0), (300.0, -7.0)):
        torch.testing.assert_close(relation(scale * student + height, teacher), relation(student, teacher))
        torch.testing.assert_close(relation(student, scale * teacher + height), relation(student, teacher))
    torch.testing.assert_close(relation(3 * teacher + 1, teacher), torch.zeros(5, dtype=torch.float64))


def test_the_relation_loss_worked_by_hand():
    # Two logits, standardised, are always (1, -1) or (-1, 1).
    high = 1 / (1 + numpy.exp(-2))
    expected = (2 * high - 1) * 2
    logits = (
        torch.tensor([[0.1, 0.9], [0.3, 0.2]], dtype=torch.float64),
        torch.tensor([[5.0, 1.0], [8.0, 7.0]]).double(),
    )
    assert relation(*logits).tolist() == pytest.approx([expected, 0.0])


def test_the_relation_loss_is_zero_for_a_perfect_student_without_a_gradient_for_the_teacher(make_batch):
    mixup = Mixup(relation=True)
    batch = make_batch(range(8))
    perfect = dataclasses.replace(batch, student=batch.teacher.clone().requires_grad_())
    assert mixup.terms(perfect, None)["relation"].tolist() == pytest.approx([0.0] * 8, abs=1e-6)
    given = dataclasses.replace(batch, teacher=batch.teacher.clone().requires_grad_())
    loss = mixup.terms(given, None)["relation"]
    loss.sum().backward()
    assert (loss > 0).all()
    assert given.teacher.grad is None
    assert batch.raw.grad.abs().sum() > 0


@pytest.mark.parametrize("rows", [[4], [4, 5], [4, 4, 4]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_relation_loss_is_finite_for_few_or_equal_logits(rows, dtype, make_batch):
    batch = make_batch(rows, dtype=dtype)
    loss = Mixup(relation=True).terms(batch, None)["relation"]
    loss.sum().backward()
    assert loss.shape == (len(rows),)
    assert loss.isfinite().all()
    assert batch.raw.grad.isfinite().all()


def test_only_text_mode_needs_a_live_teacher():
    assert Mixup(mode="text").needs == {"live"}
    assert Mixup().needs == Mixup(mode="text", share=0).needs == frozenset()


def test_text_mode_splices_the_same_texts_and_leaves_the_target_to_the_teacher(make_view):
    view = make_view(range(40))
    by_target, by_text = mixed(view, share=0.5), mixed(view, share=0.5, mode="text")
    assert same(by_target.features, by_text.features)
    assert torch.equal(by_text.teacher, view.teacher)
    assert torch.equal(by_text.labels, by_target.labels)


def test_text_mode_equals_target_mode_for_a_teacher_that_averages_tokens(make_view):
    # The teacher sums the values of the words; texts of the same length are spliced at whole words.
    class Summing:
        def vectors(self, features):
            words = features["input_ids"] * (features["input_ids"] > 3)
            return words.sum(dim=1, keepdim=True).float().expand(-1, 8)

    view = make_view([3, 8, 13, 18])
    view.features["input_ids"][:, 1:5] = torch.tensor([[10], [20], [30], [40]])
    view = dataclasses.replace(view, teacher=Summing().vectors(view.features))
    ratios, partners = numpy.array([0.25, 0.5, 1.0, 0.75]), numpy.array([1, 2, 3, 0])
    after = mixed_at(view, ratios, partners, mode="text")
    encoded = retarget(Summing(), view, after).teacher
    torch.testing.assert_close(encoded, mixed_at(view, ratios, partners, mode="target").teacher)
    assert not torch.equal(encoded, view.teacher)


def test_the_relation_loss_can_be_had_alone(make_view, make_batch):
    alone = Mixup(share=0.0, relation=True)
    view = make_view()
    assert alone.views(view, None) is view
    assert alone.terms(make_batch(), None)["relation"].shape == (8,)


@pytest.mark.parametrize("field", [{"share": 1.1}, {"share": -0.1}, {"beta": 0.0}])
def test_invalid_options_are_refused(field):
    with pytest.raises(OptionError, match=f"mixup:{next(iter(field))} is .*; expected"):
        Mixup(**field)
