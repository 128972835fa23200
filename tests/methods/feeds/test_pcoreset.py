"""PCoreSet: farthest-first picks within a budget of teacher calls."""

import itertools

import numpy
import pytest
import torch

import leafkit
from leafkit.errors import OptionError
from leafkit.methods.feeds.pcoreset import Pcoreset, farthest_first
from leafkit.methods.plan import make_plan
from leafkit.methods.setting import Pool


def cloud(rows, dim, seed):
    return torch.rand(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def radius(points, centres):
    return float(torch.cdist(points, points[list(centres)]).amin(dim=1).amax())


def everything(setting):
    return Pool(rows=numpy.arange(setting.texts))


def run(pcoreset, setting, rounds):
    state = pcoreset.build(setting)
    for step in range(rounds + 1):
        pcoreset.refresh(state, setting, step * pcoreset.every)
    return state


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_greedy_radius_is_at_most_twice_the_optimum(seed, count):
    points = cloud(14, 2, seed)
    greedy = [0, *(1 + farthest_first(points[1:], points[:1], count - 1)).tolist()]
    best = min(radius(points, centres) for centres in itertools.combinations(range(14), count))
    assert best <= radius(points, greedy) <= 2 * best


@pytest.mark.parametrize("seed", range(5))
def test_each_pick_is_the_farthest_from_all_earlier_points(seed):
    points, asked = cloud(40, 3, seed), cloud(5, 3, seed + 100)
    known = asked
    for place in farthest_first(points, asked, 15).tolist():
        distances = torch.cdist(points, known).amin(dim=1)
        assert float(distances[place]) == pytest.approx(float(distances.amax()))
        known = torch.cat([known, points[place : place + 1]])


def test_hand_values():
    points = torch.tensor([[0.0], [10.0], [4.0], [7.0], [9.0]])
    # From 0, the farthest is 10. Then 4 (distance 4) is farther than 7 (3) and 9 (1). Then 7 (3).
    assert farthest_first(points, torch.zeros(1, 1), 4).tolist() == [1, 2, 3, 4]


def test_picks_are_the_same_when_the_classes_are_permuted():
    points, asked = torch.softmax(4 * cloud(60, 6, 0), dim=1), torch.softmax(4 * cloud(4, 6, 1), dim=1)
    order = torch.tensor([5, 2, 0, 1, 4, 3])
    assert torch.equal(farthest_first(points, asked, 20), farthest_first(points[:, order], asked[:, order], 20))


def test_a_duplicate_is_picked_only_after_all_distinct_points():
    distinct = cloud(10, 4, 0).float()
    points = torch.cat([distinct, distinct, distinct[:3]])
    asked = distinct[:3]
    taken = farthest_first(points, asked, len(points)).tolist()
    assert {place % 10 for place in taken[:7]} == set(range(3, 10))
    assert len(set(taken)) == len(points)


def test_no_position_is_picked_twice_even_if_all_points_are_equal():
    assert farthest_first(torch.ones(5, 3), torch.ones(2, 3), 9).tolist() == [0, 1, 2, 3, 4]


def test_many_selected_points_are_measured_in_chunks():
    points, asked = cloud(30, 3, 0), cloud(2500, 3, 1)
    first = int(torch.cdist(points, asked).amin(dim=1).argmax())
    assert farthest_first(points, asked, 5)[0] == first


@pytest.mark.parametrize("space", ["prob", "feature", "random"])
def test_the_selection_grows_to_the_budget_and_never_shrinks(space, make_setting):
    setting = make_setting()
    pcoreset = Pcoreset(first=10, picks=7, share=0.25, space=space, count=4)
    state = pcoreset.build(setting)
    sizes, before = [], torch.zeros(120, dtype=torch.bool)
    for step in range(6):
        pcoreset.refresh(state, setting, step * pcoreset.every)
        assert (state.selected | ~before).all()
        before = state.selected.clone()
        pool = pcoreset.feed(everything(setting), state)
        assert torch.equal(torch.from_numpy(pool.rows), state.selected.nonzero()[:, 0])
        sizes.append(len(pool.rows))
        assert pcoreset.teacher_calls(120, state) == len(pool.rows)
    assert sizes == [10, 17, 24, 30, 30, 30]


@pytest.mark.parametrize("space", ["prob", "feature", "random"])
def test_the_same_seed_picks_the_same_texts(space, make_setting):
    pcoreset = Pcoreset(first=10, picks=7, space=space, count=4)
    one, two = (run(pcoreset, make_setting(), 2).selected for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, run(pcoreset, make_setting(seed=1), 2).selected)


@pytest.mark.parametrize("space", ["prob", "feature", "random"])
@pytest.mark.parametrize("anchors", ["clusters", "labels", "texts"])
def test_only_selected_texts_are_requested_from_the_teacher(space, anchors, make_setting):
    setting = make_setting()
    asked = set()

    def targets(rows):
        asked.update(rows.tolist())
        return setting.targets(rows)

    state = run(Pcoreset(first=12, picks=5, space=space, anchors=anchors, count=4), make_setting(targets=targets), 3)
    selected = set(state.selected.nonzero()[:, 0].tolist())
    assert len(selected) == 27
    assert asked <= selected
    assert len(asked) == (12 if space == "prob" else 0)


def test_in_probability_space_picks_have_predictions_unlike_the_selected_texts(make_setting):
    setting = make_setting()
    pcoreset = Pcoreset(first=10, picks=1, count=4)
    state = pcoreset.build(setting)
    before = state.selected.clone()
    pcoreset.refresh(state, setting, 15)
    points = torch.softmax(state.anchors.logits(torch.from_numpy(setting.student(numpy.arange(120)))), dim=-1)
    distances = torch.cdist(points, points[before]).amin(dim=1)
    assert int((state.selected & ~before).nonzero()) == int(distances.argmax())


def test_in_feature_space_the_norm_of_a_vector_does_not_matter(make_setting):
    setting = make_setting()
    scale = (1 + numpy.arange(120, dtype=numpy.float32))[:, None]
    longer = make_setting(student=lambda rows: scale[rows] * setting.student(rows))
    pcoreset = Pcoreset(first=10, picks=7, space="feature")
    assert torch.equal(run(pcoreset, setting, 2).selected, run(pcoreset, longer, 2).selected)


def test_farthest_first_covers_more_than_random_picks(make_setting):
    # 110 texts share one corner and ten texts are far away, each alone. The ten must be picked.
    vectors = numpy.eye(16, dtype=numpy.float32)[numpy.maximum(numpy.arange(120) - 109, 0)]
    setting = make_setting(dim=16, student=lambda rows: vectors[rows])
    state = run(Pcoreset(first=5, picks=10, space="feature"), setting, 1)
    assert state.selected[110:].all()
    assert not run(Pcoreset(first=5, picks=10, space="random"), setting, 1).selected[110:].all()


def test_a_round_considers_at_most_the_given_candidates(make_setting):
    looked = []
    setting = make_setting()

    def student(rows):
        looked.append(len(rows))
        return setting.student(rows)

    run(Pcoreset(first=10, picks=5, candidates=20, count=4), make_setting(student=student), 1)
    assert sorted(looked) == [10, 20]


def test_weights_and_rows_of_the_given_pool_are_respected(make_setting):
    setting = make_setting()
    state = Pcoreset().build(setting)
    before = Pool(rows=numpy.arange(50, 100), weights=numpy.arange(50, 100, dtype=numpy.float64))
    after = Pcoreset().feed(before, state)
    assert set(after.rows) <= set(before.rows)
    assert state.selected[after.rows].all()
    assert numpy.array_equal(after.weights, after.rows)


def test_disabled_pcoreset_returns_the_pool_and_requests_nothing(make_setting):
    def refuse(rows):
        raise AssertionError("asked")

    setting = make_setting(targets=refuse, student=refuse)
    pcoreset = Pcoreset(**Pcoreset.off)
    state = run(pcoreset, setting, 3)
    pool = everything(setting)
    assert pcoreset.feed(pool, state) is pool
    assert state.selected.all()


@pytest.mark.parametrize("space", ["prob", "random"])
def test_the_state_restores_everything(space, make_setting):
    setting = make_setting()
    pcoreset = Pcoreset(first=10, picks=7, space=space, count=4)
    state, fresh = run(pcoreset, setting, 1), pcoreset.build(setting)
    fresh.load_state_dict(state.state_dict())
    for some in (state, fresh):
        pcoreset.refresh(some, setting, 30)
    assert torch.equal(state.selected, fresh.selected)


def test_a_budget_below_two_texts_is_refused(make_setting):
    with pytest.raises(OptionError, match=r"pcoreset:share is 0\.01; expected a share of 120 texts that is 2"):
        Pcoreset(share=0.01).check(make_setting())


@pytest.mark.parametrize(
    "field",
    [
        {"every": -1},
        {"first": 1},
        {"picks": 0},
        {"share": 0.0},
        {"share": 1.1},
        {"space": "logits"},
        {"anchors": "words"},
        {"count": 1},
        {"candidates": 10},
    ],
)
def test_invalid_options_are_refused(field):
    with pytest.raises(OptionError, match=f"pcoreset:{next(iter(field))} is .*; expected"):
        Pcoreset(**field)


def test_a_ridge_start_uses_the_first_texts_only(make_setting):
    setting, feed = make_setting(), Pcoreset(first=12, picks=10)
    selected = feed.build(setting).selected.numpy()
    assert numpy.flatnonzero(selected).tolist() == feed.start_rows(setting.texts, setting.seed).tolist()
    plan = make_plan(feeds=[feed, "curriculum"])
    assert plan.start_rows(setting.texts, setting.seed).tolist() == numpy.flatnonzero(selected).tolist()
    for whole in (make_plan(), make_plan(feeds=[Pcoreset(share=1.0)])):
        assert whole.start_rows(setting.texts, setting.seed) is None


@pytest.mark.parametrize("head", ["random", "ridge"])
def test_the_student_records_the_number_of_teacher_calls(head, tiny_teacher, tiny_texts, tmp_path):
    how = {"feeds": [Pcoreset(every=1, first=10, picks=30)], "head": head, "export": False, "cache": tmp_path / "cache"}
    facts = leafkit.distill(tiny_texts, tiny_teacher, "teacher:layers=1", tmp_path / "student", **how)
    data = facts.training["data"]
    assert data["asked"] == round(0.25 * data["training"])
    if head == "ridge":
        assert facts.training["head"]["ridge"]["texts"] == 10
