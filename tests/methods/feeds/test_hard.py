"""HARD: the operators on token ids, the bandit over them, and views that the live teacher encodes."""

import dataclasses

import numpy
import pytest
import torch
from torch.nn.functional import normalize

from leafkit.errors import OptionError
from leafkit.methods.feeds.hard import ARMS, Hard, advantages, common_edges, hedge, operate, with_texts
from leafkit.training.active_methods import ActiveMethods, check_view
from leafkit.training.live import retarget

KINDS = len(ARMS)
OTHERS = numpy.arange(500, 520)


def batch_of(view, student, **fields):
    """The view as a batch whose student vectors are ``student``."""
    return type("Batch", (), {**vars(view), "student": student, **fields})


def step(hard, state, view, error=lambda arm: 0.0):
    """One step in which the student is ``error(arm)`` away from the teacher on a view, and 1 away on a text."""
    after = hard.views(view, state)
    away = torch.tensor([1.0 if arm < 0 else error(int(arm)) for arm in state.arms])
    batch = batch_of(after, after.teacher + away.sqrt()[:, None] * torch.eye(8)[0])
    hard.after_step(batch, {}, state)
    return after


@pytest.fixture
def view(make_view):
    """Sixty texts of up to five words, between the special tokens 2 and 3."""
    return make_view(range(60))


@pytest.fixture
def state(make_setting):
    return Hard().build(make_setting())


def bodies(features):
    return [row[row > 3].tolist() for row in features["input_ids"]]


@pytest.mark.parametrize("arm", range(KINDS), ids=lambda arm: f"{ARMS[arm][0]} {ARMS[arm][1]:g}")
@pytest.mark.parametrize("words", [2, 3, 7, 20])
def test_an_operator_keeps_half_of_the_words_or_only_moves_them(arm, words):
    body, name = numpy.arange(words), ARMS[arm][0]
    for seed in range(20):
        new = operate(arm, body, OTHERS, numpy.random.default_rng(seed))
        kept = numpy.intersect1d(new, body)
        if name in ("swap", "shuffle", "rotate"):
            assert sorted(new) == body.tolist()
        else:
            assert len(kept) >= words / 2
            assert len(kept) < words
            assert (numpy.diff(new[new < words]) > 0).all()
        assert (len(new) == words) == (name not in ("drop", "span", "truncate"))
        assert set(new) - set(kept) <= set(OTHERS)


def test_hand_values_of_operators_without_chance():
    arms = {
        arm: operate(place, numpy.arange(10), OTHERS, numpy.random.default_rng(0)) for place, arm in enumerate(ARMS)
    }
    assert arms["truncate", 0.2].tolist() == list(range(8))
    assert arms["rotate", 0.5].tolist() == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]
    cut = arms["span", 0.5].tolist()
    assert len(cut) == 5
    assert sum(later - earlier > 1 for earlier, later in zip([-1, *cut], [*cut, 10])) == 1


def test_views_follow_the_texts_and_keep_prompt_row_role_and_label(view, state):
    after = Hard().views(view, state)
    check_view(view, after, "hard")
    count = len(view.rows)
    assert 1.5 * count < len(after.rows) <= 2 * count
    for name in ("rows", "roles", "labels", "domains", "teacher"):
        assert torch.equal(getattr(after, name), getattr(view, name)[after.origin])
    assert torch.equal(after.features["input_ids"][:count], view.features["input_ids"])
    ids, mask = after.features["input_ids"], after.features["attention_mask"]
    assert torch.equal(mask, (ids > 0).long())
    assert (ids[:, 0] == 2).all()
    assert (ids.gather(1, mask.sum(1, keepdim=True) - 1) == 3).all()
    texts = bodies(after.features)
    assert all(texts[row] != texts[origin] for row, origin in enumerate(after.origin.tolist()) if row >= count)


def test_the_tokens_that_all_texts_of_a_role_share_are_not_changed(make_setting, make_batch, view):
    def prompted(rows):
        batch = make_batch(rows)
        ids = batch.features["input_ids"].clone()
        ids[:, 1] = 7
        return dataclasses.replace(batch, features={**batch.features, "input_ids": ids})

    state = Hard().build(make_setting(batch=prompted))
    assert state.edges.tolist() == [[2, 1], [2, 1]]
    view.features["input_ids"][:, 1] = 7
    after = Hard().views(view, state)
    assert (after.features["input_ids"][:, 1] == 7).all()
    assert common_edges([[1, 9, 5, 2], [1, 9, 2]]) == (2, 1)
    assert common_edges([[1, 2], [1, 2]]) == (2, 0)


def test_padding_on_the_left_stays_on_the_left():
    ids = torch.tensor([[0, 0, 5, 6], [7, 8, 9, 4]])
    features = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    after = with_texts(features, [numpy.array([5, 4]), numpy.array([3])])
    assert after["input_ids"][2:].tolist() == [[0, 0, 8, 7], [0, 0, 0, 6]]
    assert after["attention_mask"][2:].tolist() == [[0, 0, 1, 1], [0, 0, 0, 1]]


def test_the_view_of_a_text_does_not_depend_on_its_place_in_the_batch(view, state):
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    turned = dataclasses.replace(
        view,
        features={name: value[order] for name, value in view.features.items()},
        **{name: getattr(view, name)[order] for name in ("rows", "roles", "labels", "domains", "teacher")},
    )
    found = []
    for each in (view, turned):
        after = Hard().views(each, state)
        found.append(dict(zip(after.rows[60:].tolist(), bodies(after.features)[60:])))
    assert found[0] == found[1]


def test_a_share_gives_as_many_texts_a_view_and_another_step_gives_others(make_view, state):
    views = [Hard(share=0.3).views(make_view(range(120), step=step), state) for step in range(2)]
    chosen = [set(after.rows[120:].tolist()) for after in views]
    assert all(18 <= len(rows) <= 54 for rows in chosen)
    assert chosen[0] != chosen[1]


def test_a_student_equal_to_the_teacher_earns_nothing_and_moves_no_probability(view, state):
    hard, before = Hard(rate=5.0), state.shares.clone()
    after = hard.views(view, state)
    hard.after_step(batch_of(after, after.teacher.clone()), {}, state)
    assert torch.equal(state.shares, before)


@pytest.mark.parametrize("floor", [0.0, 0.02, 0.07])
def test_a_small_step_of_the_augmentor_does_not_lower_the_expected_error(floor):
    draw = numpy.random.default_rng(0)
    for _ in range(50):
        shares = hedge(draw.dirichlet(numpy.ones(KINDS)), numpy.zeros(KINDS), floor)
        rewards = draw.random(KINDS)
        gains = advantages(numpy.arange(KINDS), rewards)
        assert hedge(shares, 1e-3 * gains, floor) @ rewards >= shares @ rewards - 1e-12


@pytest.mark.parametrize("rate", [0.1, 3.0, 500.0])
def test_probabilities_stay_on_the_simplex_and_above_the_floor(rate):
    shares, draw = numpy.full(KINDS, 1 / KINDS), numpy.random.default_rng(0)
    for _ in range(100):
        shares = hedge(shares, rate * draw.normal(size=KINDS), 0.02)
        assert shares.sum() == pytest.approx(1, abs=1e-12)
        assert shares.min() >= 0.02 - 1e-15


def test_hand_values_of_the_bandit():
    assert advantages(numpy.array([0, 0, 2]), numpy.array([1.0, 3.0, 8.0]))[:4].tolist() == [-0.5, 0.0, 1.0, 0.0]
    doubled = hedge(numpy.array([0.25, 0.75]), numpy.array([numpy.log(3), 0.0]), 0.0)
    numpy.testing.assert_allclose(doubled, [0.5, 0.5])
    numpy.testing.assert_allclose(
        hedge(numpy.array([0.8, 0.15, 0.05]), numpy.zeros(3), 0.1), [0.9 * 0.8 / 0.95, 0.9 * 0.15 / 0.95, 0.1]
    )


def test_the_operators_with_the_largest_errors_gain_and_those_without_views_stay(view, state):
    worst = ARMS.index(("shuffle", 1.0))
    hard = Hard(rate=0.5, most=9.0)
    step(hard, state, view, lambda arm: 4.0 if arm == worst else 1.0)
    assert int(state.shares.argmax()) == worst
    before = state.shares.clone()
    step(Hard(rate=0.0), state, view, lambda arm: 4.0 if arm == worst else 1.0)
    torch.testing.assert_close(state.shares, before)


def test_the_bandit_stops_at_the_upper_threshold_and_moves_again_at_the_lower(view, state):
    hard, moving = Hard(most=4.0, least=2.0), []
    for error in (3.9, 4.1, 3.0, 2.1, 1.9, 3.0):
        before = state.shares.clone()
        step(hard, state, view, lambda arm, error=error: error * (1.0 + 0.01 * (arm % 2)))
        moving.append(not torch.equal(state.shares, before))
    assert moving == [True, False, False, False, True, True]


class Hashing:
    """A live teacher whose vector is that of the first word, turned for texts that lost a word."""

    def vectors(self, features):
        words = (features["input_ids"] > 3).sum(dim=1)
        vectors = torch.zeros(len(words), 8)
        vectors[torch.arange(len(words)), torch.where(words < 5, 1, 0)] = 1
        return vectors


def test_a_view_that_the_teacher_places_elsewhere_is_left_out_and_earns_nothing(make_view, make_setting):
    hard, view = Hard(rate=1.0, most=9.0), make_view([4, 9, 14, 19, 24, 29, 34, 39])
    view = dataclasses.replace(view, teacher=torch.eye(8)[0].repeat(8, 1))
    state = hard.build(make_setting())
    before = hard.views(view, state)
    answered = hard.answered(retarget(Hashing(), view, before), state)
    check_view(view, answered, "hard")
    words = [len(text) for text in bodies(answered.features)]
    assert words == [5] * len(words)
    assert len(view.rows) < len(answered.rows) < len(before.rows)
    assert len(state.rejected) == len(before.rows) - len(answered.rows)
    hard.after_step(batch_of(answered, answered.teacher + 1), {}, state)
    shorter = [ARMS.index(("drop", 0.5)), ARMS.index(("truncate", 0.5))]
    hit = [arm for arm in shorter if arm in state.rejected]
    assert hit
    assert all(state.shares[arm] < 1 / KINDS for arm in hit)
    everything = Hard(plausible=-1.0)
    again = everything.views(view, state)
    assert everything.answered(retarget(Hashing(), view, again), state) is not None
    assert len(everything.answered(retarget(Hashing(), view, again), state).rows) == len(again.rows)


class BagOfWords:
    """A live teacher that does not read the order of words."""

    table = normalize(torch.randn(130, 8, generator=torch.Generator().manual_seed(0)), dim=-1)

    def vectors(self, features):
        return (self.table[features["input_ids"]] * features["attention_mask"][..., None]).sum(dim=1) / 2


def sorted_texts(count, draw):
    ids = numpy.sort(numpy.array([draw.permutation(numpy.arange(100, 115))[:6] for _ in range(count)]), axis=1)
    return torch.from_numpy(ids)


def train_on_sorted_texts(hard, make_setting, make_view, make_batch, steps=100):
    """Train weights for each place and word on sorted texts; return the error on shuffled ones and the state."""
    draw, live = numpy.random.default_rng(0), BagOfWords()
    ids = sorted_texts(8, draw)
    features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    state = hard.build(
        make_setting(batch=lambda rows: make_batch(rows, features={n: v[rows % 8] for n, v in features.items()}))
    )
    weights = torch.zeros(6, 130, 8, requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=0.02)

    def vectors(features):
        mask = features["attention_mask"][..., None]
        return (weights[torch.arange(6), features["input_ids"]] * mask).sum(dim=1)

    for number in range(steps):
        ids = sorted_texts(16, draw)
        features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        view = dataclasses.replace(make_view(range(16), step=number), features=features, teacher=live.vectors(features))
        after = hard.views(view, state)
        after = hard.answered(retarget(live, view, after), state) if after is not view else after
        student = vectors(after.features)
        (student - after.teacher).square().sum(dim=-1).mean().backward()
        optimiser.step()
        optimiser.zero_grad()
        hard.after_step(batch_of(after, student.detach()), {}, state)
    ids = sorted_texts(200, draw)[:, torch.randperm(6, generator=torch.Generator().manual_seed(1))]
    features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return float((vectors(features) - live.vectors(features)).square().sum(dim=-1).mean().detach()), state


def test_a_student_of_sorted_texts_learns_that_its_teacher_does_not_read_the_order(make_setting, make_view, make_batch):
    made = make_setting, make_view, make_batch
    hard, state = train_on_sorted_texts(Hard(most=99.0), *made)
    plain, _ = train_on_sorted_texts(Hard(share=0.0), *made)
    assert hard <= plain / 5
    families = {name: sum(state.shares[place] for place, arm in enumerate(ARMS) if arm[0] == name) for name, _ in ARMS}
    assert max(families, key=families.get) == "shuffle"


def test_disabled_hard_needs_no_teacher_and_returns_the_view(view, make_setting):
    off = Hard(**Hard.off)
    assert off.needs == frozenset()
    assert Hard().needs == {"live"}
    state = off.build(make_setting(batch=None))
    assert off.views(view, state) is view
    off.after_step(batch_of(view, view.teacher + 1), {}, state)
    assert state.shares.tolist() == [1 / KINDS] * KINDS


def test_the_live_teacher_answers_before_the_feed_leaves_views_out(view, make_setting, monkeypatch):
    asked = []

    def vectors(features):
        asked.append(len(features["input_ids"]))
        return torch.eye(8)[1].repeat(len(features["input_ids"]), 1)

    from leafkit.methods.plan import make_plan
    from leafkit.training.recipe import Recipe

    setting = make_setting(live=type("Live", (), {"vectors": staticmethod(vectors)}))
    methods = ActiveMethods(make_plan(feeds=[Hard()]), setting, Recipe(), torch.device("cpu"))
    towards = dataclasses.replace(view, teacher=torch.eye(8)[0].repeat(60, 1))
    assert len(methods.view(towards).rows) == 60
    assert asked[0] > 40
    near = dataclasses.replace(view, teacher=torch.eye(8)[1].repeat(60, 1))
    assert len(methods.view(near).rows) == 60 + asked[-1]


@pytest.mark.parametrize(
    "field",
    [{"share": 1.1}, {"rate": -0.1}, {"floor": 0.08}, {"plausible": 1.5}, {"most": 0.0, "least": 0.0}, {"least": 2.5}],
)
def test_invalid_options_are_refused(field):
    with pytest.raises(OptionError, match=f"hard:{next(iter(field))} is .*; expected"):
        Hard(**field)
