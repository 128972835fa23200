"""MST-Distill: the masked teachers, the router, and the two terms."""

import logging

import numpy
import pytest
import torch
from torch.nn.functional import kl_div, normalize, one_hot

from leafkit.errors import OptionError
from leafkit.methods.divergences import kl_of_logits
from leafkit.methods.objectives.mst import Mst
from leafkit.methods.plan import make_plan
from leafkit.training.active_methods import ActiveMethods
from leafkit.training.recipe import Recipe

COUNT = 8


@pytest.fixture
def build(make_setting):
    """Return a function that builds the state as a training does, with a seed."""

    def run(system, setting=None):
        torch.manual_seed(0)
        return system.build(setting or make_setting())

    return run


def mst(**fields):
    return Mst(**{"count": COUNT, "sample": 0} | fields)


def open_masks(state):
    """Set every mask to one."""
    for teacher in state.teachers:
        for gate in teacher.gates:
            gate[2].weight.zero_()
            gate[2].bias.fill_(100.0)


def plant(state, logits):
    """Make the router give ``logits`` for every text."""
    with torch.no_grad():
        state.router[1].weight.zero_()
        state.router[1].bias.copy_(torch.as_tensor(logits, dtype=torch.float32))


def whole(state, batch):
    """Return the logits of each teacher, (teachers, rows, count)."""
    main, *others = state.teachers
    return torch.stack([main.anchors.logits(batch.teacher), *(o.anchors.logits(o.vectors[batch.rows]) for o in others)])


def router_gradient(system, state, batch, name="routed"):
    state.router.zero_grad()
    system.terms(batch, state)[name].sum().backward()
    return torch.cat([parameter.grad.flatten() for parameter in state.router.parameters()])


@pytest.mark.parametrize("others", ["", "other"])
def test_open_masks_give_the_unmasked_teacher(build, make_batch, others):
    state, batch = build(mst(others=others)), make_batch()
    own = whole(state, batch)
    vectors = [batch.teacher, *(other.vectors[batch.rows] for other in state.teachers[1:])]
    open_masks(state)
    for teacher, given, expected in zip(state.teachers, vectors, own, strict=True):
        torch.testing.assert_close(teacher(given), expected.expand(2, -1, -1))


def test_a_closed_mask_removes_coordinates(build):
    state = build(mst(masks=1))
    open_masks(state)
    teacher = state.teachers[0]
    teacher.gates[0][2].bias[3:] = -100.0
    vectors = torch.randn(5, 8)
    kept = vectors * (torch.arange(8) < 3)
    torch.testing.assert_close(teacher(vectors)[0], teacher.anchors.logits(kept))


def test_training_the_masks_moves_the_teachers_towards_the_student(build, make_setting):
    setting = make_setting(batch_size=2)
    rows = numpy.arange(setting.texts)
    before = setting.targets(rows).tobytes(), setting.other_teacher("other")(rows).tobytes()
    drawn, trained = build(mst(others="other"), setting), build(mst(others="other", sample=1000), setting)
    student = drawn.teachers[0].anchors.logits(torch.from_numpy(setting.student(rows)))
    for first, last, gather in zip(drawn.teachers, trained.teachers, (setting.targets, setting.other_teacher("other"))):
        vectors = torch.from_numpy(gather(rows))
        far, near = (kl_of_logits(student, t(vectors), 4.0).mean(dim=-1) for t in (first, last))
        assert (near < far).all()
        assert torch.equal(first.anchors.centres, last.anchors.centres)
    assert (setting.targets(rows).tobytes(), setting.other_teacher("other")(rows).tobytes()) == before


def test_trained_masks_are_frozen_and_their_divergence_is_logged(build, make_batch, caplog):
    with caplog.at_level(logging.INFO, logger="leafkit"):
        state = build(mst(sample=1000))
    assert "KL divergence of the masked teachers" in caplog.text
    batch = make_batch()
    student = state.teachers[0].anchors.logits(batch.student)
    masked, own = state.teachers[0](batch.teacher), whole(state, batch)[0]
    assert (kl_of_logits(masked, own, 4.0).mean(dim=-1) < kl_of_logits(masked, student, 4.0).mean(dim=-1)).all()
    assert not any(parameter.requires_grad for parameter in state.teachers.parameters())
    assert all(parameter.grad is None for parameter in state.teachers.parameters())
    assert all(parameter.requires_grad for parameter in state.router.parameters())


def test_building_is_reproducible_and_the_state_can_be_restored(build):
    system = mst(others="other", sample=1000)
    one, two, drawn = build(system), build(system), build(mst(others="other"))
    drawn.load_state_dict(one.state_dict())
    for state in (two, drawn):
        assert all(torch.equal(value, state.state_dict()[key]) for key, value in one.state_dict().items())
    assert one.teachers[1].vectors.dtype == torch.float16
    assert one.teachers[1].vectors.shape == (120, 5)
    assert not hasattr(one.teachers[0], "vectors")


def test_balance_is_zero_for_a_uniform_router_and_finite_for_a_one_sided_router(build, make_batch):
    system, batch = mst(), make_batch()
    state = build(system)
    found = []
    for logits in ([0.0, 0.0], [2.0, 0.0], [6.0, 0.0], [500.0, 0.0]):
        plant(state, logits)
        found.append(system.terms(batch, state)["balance"])
    torch.testing.assert_close(found[0], torch.zeros(8), atol=1e-6, rtol=0)
    means = [balance.mean().item() for balance in found]
    assert means == sorted(means)
    assert means[-1] > 4
    assert all(balance.isfinite().all() for balance in found)


def test_balance_equals_the_divergence_from_uniform_over_the_number_of_teachers(build, make_batch):
    system, batch = mst(), make_batch()
    state = build(system)
    plant(state, torch.tensor([0.75, 0.25]).log())
    expected = (0.5 * numpy.log(0.5 / 0.75) + 0.5 * numpy.log(0.5 / 0.25)) / 2
    assert system.terms(batch, state)["balance"].tolist() == pytest.approx([expected] * 8, rel=1e-5)
    half = mst(balance=0.5).terms(batch, state)["balance"]
    assert half.tolist() == pytest.approx([expected / 2] * 8, rel=1e-5)


@pytest.mark.parametrize("routing", ["hard", "straight"])
def test_choosing_all_teachers_is_their_plain_mean(build, make_batch, routing):
    system, batch = mst(others="other", chosen=4, routing=routing), make_batch()
    state = build(system)
    plant(state, [3.0, -1.0, 0.0, 2.0])
    main, other = state.teachers
    student = (main.anchors.logits(batch.student) / 4).log_softmax(dim=-1)
    teachers = [*main(batch.teacher), *other(other.vectors[batch.rows])]
    each = [16 * kl_div(student, (t / 4).softmax(dim=-1), reduction="none").sum(dim=-1) for t in teachers]
    torch.testing.assert_close(system.terms(batch, state)["routed"], sum(each) / 4)


def test_hard_routing_is_the_mean_over_the_most_likely_teachers(build, make_batch):
    batch = make_batch()
    for chosen, places in ((1, [2]), (2, [2, 0]), (3, [2, 0, 3])):
        system = mst(others="other", chosen=chosen)
        state = build(system)
        plant(state, [1.0, -1.0, 2.0, 0.0])
        main, other = state.teachers
        logits = torch.cat([main(batch.teacher), other(other.vectors[batch.rows])])[places]
        expected = kl_of_logits(logits, main.anchors.logits(batch.student), 4.0).mean(dim=0)
        torch.testing.assert_close(system.terms(batch, state)["routed"], expected)


def test_the_routed_term_trains_the_router_only_with_soft_or_straight_routing(build, make_batch):
    for routing, moves in (("hard", False), ("straight", True), ("soft", True)):
        system = mst(others="other", routing=routing, balance=0.0)
        state = build(system)
        terms = system.terms(make_batch(), state)
        (terms["routed"] + terms["balance"]).sum().backward()
        gradients = [parameter.grad for parameter in state.router.parameters()]
        assert any(g is not None and g.abs().max() > 1e-6 for g in gradients) == moves
        assert moves or all(g is None or not g.any() for g in gradients)


def test_with_hard_routing_the_balance_trains_router_and_student(build, make_batch):
    system, batch = mst(), make_batch()
    state = build(system)
    assert router_gradient(system, state, batch, "balance").any()
    assert batch.raw.grad.any()


def test_straight_routing_has_the_values_of_hard_and_a_gradient(build, make_batch):
    batch = make_batch()
    hard, straight = mst(others="other"), mst(others="other", routing="straight")
    state = build(hard)
    torch.testing.assert_close(hard.terms(batch, state)["routed"], straight.terms(batch, state)["routed"])
    teachers, student = torch.randn(4, 8, COUNT), torch.randn(8, COUNT)
    gate = torch.rand(8, 4).softmax(dim=-1).requires_grad_()
    straight.routed(teachers, student, gate).sum().backward()
    torch.testing.assert_close(gate.grad, kl_of_logits(teachers, student, 4.0).T)


def test_soft_routing_weights_the_logits_of_the_teachers(make_batch):
    teachers, student = torch.randn(3, 8, COUNT), torch.randn(8, COUNT)
    system = mst(masks=3, routing="soft")
    certain = one_hot(torch.arange(8) % 3, 3).float()
    expected = torch.stack([kl_of_logits(teachers[i % 3, i], student[i], 4.0) for i in range(8)])
    torch.testing.assert_close(system.routed(teachers, student, certain), expected)
    equal = system.routed(teachers, student, torch.full((8, 3), 1 / 3))
    torch.testing.assert_close(equal, kl_of_logits(teachers.mean(dim=0), student, 4.0))


@pytest.mark.parametrize("routing", ["straight", "soft"])
def test_the_router_learns_to_pick_the_better_teacher(build, make_setting, make_batch, routing):
    order = numpy.random.default_rng(5).permutation(120)
    targets = make_setting().targets
    setting = make_setting(other_teacher=lambda name: lambda rows: targets(order[rows]))
    system = mst(others="shuffled", masks=1, routing=routing, balance=0.0)
    state = build(system, setting)
    plant(state, [-1.0, 1.0])  # The router starts with a preference for the worse teacher.
    rows = numpy.arange(120)
    teacher = torch.from_numpy(targets(rows))
    student = normalize(teacher + 0.1 * torch.randn(120, 8), dim=-1)
    batch = make_batch(rows, setting=setting, student=student, teacher=teacher)
    optimiser = torch.optim.Adam(state.router.parameters(), lr=3e-2)
    for _ in range(150):
        optimiser.zero_grad()
        system.terms(batch, state)["routed"].mean().backward()
        optimiser.step()
    distribution = state.teachers[0].anchors.logits(student).softmax(dim=-1)
    assert (state.router(distribution).argmax(dim=-1) == 0).float().mean() > 0.9


@pytest.mark.parametrize("routing", ["hard", "straight", "soft"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_terms_are_finite_and_follow_their_texts(build, make_batch, routing, dtype):
    system = mst(others="other", routing=routing, chosen=2, sample=1000)
    state = build(system)
    alone, forth, back = (make_batch(rows, dtype=dtype) for rows in (range(1), range(8), range(8)))
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    fields = {"student", "teacher", "rows"}
    back = type(back)(**vars(back) | {name: getattr(forth, name)[order] for name in fields})
    for name, loss in system.terms(forth, state).items():
        torch.testing.assert_close(system.terms(back, state)[name], loss[order])
        single = system.terms(alone, state)[name]
        assert loss.shape == (8,)
        assert single.shape == (1,)
        assert loss.isfinite().all()
        assert single.isfinite().all()


def test_training_steps_change_the_router_and_not_the_masks(make_setting, make_batch):
    plan = make_plan(["leaf", "mst:count=8,others=other"])
    recipe, place = Recipe(weight_decay=0.1), torch.device("cpu")
    active = ActiveMethods(plan, make_setting(), recipe, place)
    before = {name: value.clone() for name, value in active.modules.state_dict().items()}
    for _ in range(3):
        losses, _ = active.losses(make_batch())
        losses.sum().backward()
        active.step(1e-2)
    moved = {name for name, value in active.modules.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if ".router." in name}
    resumed = ActiveMethods(plan, make_setting(), recipe, place)
    resumed.restore(active.tensors().__getitem__)
    for each in (active, resumed):
        each.losses(make_batch())[0].sum().backward()
        each.step(1e-2)
    after = active.modules.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in resumed.modules.state_dict().items())


@pytest.mark.parametrize(
    ("epoch", "routed", "balance"), [(0, 1, 1), (1, 0.5, 0.9), (10, 0.5, 0.9), (11, 0.5, 0.81), (31, 0.25, 0.6561)]
)
def test_the_terms_fade_after_the_first_and_every_tenth_and_thirtieth_epoch(build, make_batch, epoch, routed, balance):
    system = mst()
    state = build(system)
    start, later = (system.terms(make_batch(step=step), state) for step in (0, 15 * epoch))
    torch.testing.assert_close(later["routed"], routed * start["routed"])
    torch.testing.assert_close(later["balance"], balance * start["balance"])


def test_teachers_share_anchor_texts_but_not_vectors_or_temperature(build, make_setting):
    setting = make_setting()
    main, other = build(mst(others="other")).teachers
    vectors, theirs = (
        torch.from_numpy(gather(numpy.arange(120))) for gather in (setting.targets, setting.other_teacher(""))
    )
    places = (main.anchors.centres @ vectors.T).argmax(dim=-1)
    torch.testing.assert_close(other.anchors.centres, theirs[places])
    for teacher, own in ((main, vectors), (other, theirs)):
        confidence = teacher.anchors.logits(own).softmax(dim=-1).amax(dim=-1).mean().item()
        assert confidence == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    "fields",
    [
        {"others": "a;;b"},
        {"others": "a; a"},
        {"masks": 0},
        {"sample": -1},
        {"temperature": 0.0},
        {"chosen": 0},
        {"chosen": 3},
        {"routing": "loud"},
        {"balance": float("nan")},
        {"count": 1},
    ],
)
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"mst:{next(iter(fields))} is .*; expected"):
        Mst(**fields)


def test_chosen_is_limited_by_the_number_of_specialised_teachers():
    assert Mst(chosen=6, others="a; b").chosen == 6
    with pytest.raises(OptionError, match=r"mst:chosen is .*; expected 1 to 6, the number of specialised teachers"):
        Mst(chosen=7, others="a; b")


def test_more_anchors_than_texts_are_refused(build):
    with pytest.raises(OptionError, match="count is 500; expected 2 to 120"):
        build(mst(count=500))
