"""PLD: the weighted Plackett-Luce loss and the ranking of the anchors."""

import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.objectives.pld import Pld, plackett_luce, ranking, weighted_ranking_loss


def one(label, count=9):
    """The mask of one item a row."""
    return torch.nn.functional.one_hot(label, count).bool()


def draw(rows, count, seed):
    return torch.randn(rows, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def logits():
    return draw(6, 9, 0).requires_grad_(), draw(6, 9, 1), torch.tensor([0, 3, 8, 2, 2, 5])


def test_all_weight_on_the_first_rank_is_cross_entropy(logits):
    student, teacher, label = logits
    order = ranking(teacher, one(label))
    weights = torch.zeros(6, 9, dtype=torch.float64).index_fill_(1, torch.tensor([0]), 1.0)
    loss = weighted_ranking_loss(student.gather(1, order), weights)
    assert torch.allclose(loss, torch.nn.functional.cross_entropy(student, label, reduction="none"))


def test_equal_weights_are_list_mle(logits):
    student, teacher, label = logits
    ordered = student.gather(1, ranking(teacher, one(label)))
    loss = weighted_ranking_loss(ordered, torch.ones(6, 9, dtype=torch.float64))
    steps = [torch.logsumexp(ordered[:, k:], dim=1) - ordered[:, k] for k in range(9)]
    assert torch.allclose(loss, torch.stack(steps).sum(dim=0))


def test_with_two_items_the_loss_is_weighted_cross_entropy():
    student, teacher, label = draw(5, 2, 2), draw(5, 2, 3), torch.tensor([0, 1, 1, 0, 1])
    mass = teacher.softmax(-1).gather(1, label[:, None])[:, 0]
    expected = mass * torch.nn.functional.cross_entropy(student, label, reduction="none")
    assert torch.allclose(plackett_luce(student, teacher, one(label, 2), 2), expected)


def test_a_shift_of_the_student_changes_nothing_and_gradients_sum_to_zero(logits):
    student, teacher, label = logits
    loss = plackett_luce(student, teacher, one(label), 9)
    assert torch.allclose(loss, plackett_luce(student + 3.7, teacher, one(label), 9))
    (gradient,) = torch.autograd.grad(loss.sum(), student)
    assert gradient.sum(dim=1).abs().max() < 1e-12


def test_the_gradient_equals_that_of_successive_choices(logits):
    student, teacher, label = logits
    (gradient,) = torch.autograd.grad(plackett_luce(student, teacher, one(label), 9).sum(), student)
    order, weights = ranking(teacher, one(label)), teacher.softmax(-1)
    for row in range(6):
        expected = torch.zeros(9, dtype=torch.float64)
        for k in range(9):
            left = order[row, k:]
            expected[left] += weights[row, order[row, k]] * student[row, left].detach().softmax(-1)
            expected[order[row, k]] -= weights[row, order[row, k]]
        assert torch.allclose(gradient[row], expected, atol=1e-12)


def test_the_loss_is_convex_in_the_students_logits(logits):
    _, teacher, label = logits
    first, second = draw(6, 9, 4), draw(6, 9, 5)
    ends = (plackett_luce(first, teacher, one(label), 9) + plackett_luce(second, teacher, one(label), 9)) / 2
    assert (plackett_luce((first + second) / 2, teacher, one(label), 9) <= ends + 1e-12).all()


def test_the_teachers_own_logits_have_a_loss_and_a_gradient(logits):
    _, teacher, _ = logits
    label, own = teacher.argmax(dim=1), teacher.clone().requires_grad_()
    loss = plackett_luce(own, teacher, one(label), 9)
    (gradient,) = torch.autograd.grad(loss.sum(), own)
    assert (loss > 0.1).all()
    assert (gradient.norm(dim=1) > 0.01).all()


def test_the_loss_of_scores_in_the_right_order_vanishes_as_they_grow(logits):
    _, teacher, label = logits
    order = ranking(teacher, one(label))
    scores = torch.zeros(6, 9, dtype=torch.float64).scatter_(1, order, torch.arange(9.0, 0, -1).double().expand(6, 9))
    losses = [float(plackett_luce(scale * scores, teacher, one(label), 9).sum()) for scale in (1, 3, 10, 100)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-12


def test_the_label_ranks_first_and_ties_are_broken_by_position():
    teacher = torch.tensor([[1.0, 2.0, 2.0, 0.0]])
    assert ranking(teacher, one(torch.tensor([3]), 4)).tolist() == [[3, 1, 2, 0]]


def test_the_probability_of_unranked_items_is_dropped(logits):
    student, teacher, label = logits
    order = ranking(teacher, one(label))[:, :3]
    expected = weighted_ranking_loss(student.gather(1, order), teacher.softmax(-1).gather(1, order))
    assert torch.allclose(plackett_luce(student, teacher, one(label), 3), expected)


def test_with_labels_the_class_of_a_text_comes_first(make_setting, make_batch):
    method, setting = Pld(anchors="labels", scale=5), make_setting()
    state, batch = method.build(setting), make_batch()
    student = state.anchors.logits(batch.student) * state.anchors.temperature * 5
    expected = plackett_luce(student, state.anchors.logits(batch.teacher), one(batch.labels, 4), 256)
    assert torch.allclose(method.terms(batch, state)["pld"], expected)


def test_without_labels_the_teacher_decides_order_and_weights(make_setting, make_batch):
    method, batch = Pld(anchors="clusters", count=8, temperature=4, most=5), make_batch()
    state = method.build(make_setting())
    teacher, centres = state.anchors.logits(batch.teacher), state.anchors.centres
    order = teacher.argsort(dim=1, descending=True)[:, :5]
    student = (20 * batch.student @ centres.T).gather(1, order)
    expected = weighted_ranking_loss(student, (teacher / 4).softmax(-1).gather(1, order))
    assert torch.allclose(method.terms(batch, state)["pld"], expected, rtol=1e-4)


def test_several_right_items_rank_first_in_the_teachers_order():
    teacher, gold = torch.tensor([[3.0, 1.0, 2.0, 0.0]]), torch.tensor([[False, True, False, True]])
    assert ranking(teacher, gold).tolist() == [[1, 3, 0, 2]]


def test_with_pairs_the_documents_of_the_own_list_are_ranked(make_setting, make_batch):
    method, batch = Pld(anchors="pairs", count=6, scale=5), make_batch()
    state = method.build(make_setting())
    lines = state.anchors.place[batch.rows]
    loss = method.terms(batch, state)["pld"]
    for row, line in enumerate(lines.tolist()):
        if line < 0:
            assert loss[row] == 0
            continue
        documents = state.anchors.documents[state.anchors.lists[line]]
        teacher = (documents @ batch.teacher[row] / state.anchors.temperature)[None]
        student = 5 * (documents @ batch.student[row])[None]
        expected = plackett_luce(student, teacher, state.anchors.gold[line][None], 6)
        assert torch.allclose(loss[row], expected[0], rtol=1e-4)
    assert (lines >= 0).sum() == 2


def test_needs_and_checks_follow_the_anchors(make_setting):
    assert not Pld().needs
    assert Pld(anchors="labels").needs == {"labels"}
    assert Pld(anchors="pairs").needs == {"pairs"}
    with pytest.raises(OptionError, match="pld:count is 256; expected 2 to 60"):
        Pld(anchors="pairs").check(make_setting())


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"scale": -1}, {"scale": 101}, {"most": 1}])
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"pld:{next(iter(fields))} is .*; expected"):
        Pld(**fields)
