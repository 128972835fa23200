"""CoMD: growth by the teacher-space neighbours of texts that the student gets wrong."""

import numpy
import pytest
import torch
from torch.nn.functional import normalize

import leafkit
from leafkit.errors import OptionError
from leafkit.methods.feeds.comd import Comd, difficult_texts, mine, nearest_texts, student_errors
from leafkit.methods.setting import Pool

SIZES = {"first": 20, "picks": 10, "share": 0.75}


def cloud(rows, dim, seed):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def unlike(setting, **changes):
    """Return the options of a setting whose student differs from the teacher on every text."""
    shift = numpy.random.default_rng(7).normal(size=(setting.texts, setting.dim)).astype(numpy.float32)
    return {"student": lambda rows: setting.targets(rows) + shift[rows], **changes}


@pytest.fixture
def setting(make_setting):
    return make_setting(**unlike(make_setting()))


def run(comd, setting, rounds):
    state = comd.build(setting)
    for step in range(rounds + 1):
        comd.refresh(state, setting, step * comd.every)
    return state


def rows_of(mask):
    return mask.nonzero()[:, 0].tolist()


@pytest.mark.parametrize("error", ["distance", "overlap"])
def test_a_student_equal_to_the_teacher_has_no_difficult_texts(error):
    teacher = cloud(50, 8, 0)
    errors = student_errors(teacher.clone(), teacher, error)
    assert errors.tolist() == [0.0] * 50
    assert len(difficult_texts(errors, 0.2, 0.0)) == 0


@pytest.mark.parametrize("error", ["distance", "overlap"])
def test_a_student_equal_to_the_teacher_gets_no_new_texts(error, make_setting):
    setting = make_setting()
    state = run(Comd(error=error, **SIZES), make_setting(student=setting.targets), 3)
    assert int(state.selected.sum()) == 20


@pytest.mark.parametrize("easy", [0, 1, 2, 3])
@pytest.mark.parametrize("picks", [10, 13])
def test_the_ratio_of_easy_to_mined_texts_is_exact_in_each_round(easy, picks, setting):
    comd = Comd(first=20, picks=picks, easy=easy, share=0.75, neighbours=9)
    state = run(comd, setting, 3)
    for step in (15, 30, 45):
        added = state.joined == step
        mined = int((added & (state.parent >= 0)).sum())
        assert mined == picks // (1 + easy)
        assert int(added.sum()) == mined * (1 + easy)


def test_the_ratio_stays_exact_when_easy_texts_run_out(setting):
    state = run(Comd(first=20, picks=80, difficult=0.9, share=0.9), setting, 1)
    mined, added = int((state.parent >= 0).sum()), int((state.joined == 15).sum())
    assert 0 < mined < 40
    assert added == 2 * mined


def test_provenance_leads_from_each_mined_text_to_a_text_that_was_difficult(setting):
    comd = Comd(**SIZES)
    state = comd.build(setting)
    for step in (0, 15, 30, 45):
        before = state.selected.clone()
        comd.refresh(state, setting, step)
        added = state.selected & ~before
        assert torch.equal(added, (state.joined == step) & (step > 0))
        held = numpy.flatnonzero(~before.numpy())
        errors = numpy.square(setting.student(held) - setting.targets(held)).sum(axis=1)
        worst = set(held[numpy.argsort(-errors)[: round(0.2 * len(held))]].tolist())
        parents = state.parent[added]
        assert {row for row in parents.tolist() if row >= 0} <= worst
        assert int((parents >= 0).sum()) == (5 if step else 0)
        assert worst.isdisjoint(rows_of(added & (state.parent < 0)))
    assert torch.equal(state.selected, state.joined >= 0)
    assert (state.parent[state.joined <= 0] == -1).all()


def test_only_training_texts_that_nobody_reserved_are_read_or_added(make_setting):
    reserved = numpy.arange(0, 120, 3)
    plain = make_setting()
    read = set()

    def targets(rows):
        read.update(rows.tolist())
        return plain.targets(rows)

    state = run(Comd(**SIZES), make_setting(**unlike(plain, targets=targets, withheld=reserved)), 4)
    assert len(rows_of(state.selected)) > 40
    assert read <= set(range(120)) - set(reserved.tolist())
    assert not state.selected[reserved].any()


def test_hand_values_of_the_distance():
    student, teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 1.0], [0.0, 0.5]])
    assert student_errors(student, teacher, "distance").tolist() == [2.0, 0.25]


def test_the_overlap_equals_that_of_sets():
    student, teacher = cloud(40, 5, 0), cloud(40, 5, 1)

    def nearest(vectors, place):
        cosines = normalize(vectors, dim=-1) @ normalize(vectors[place], dim=-1)
        return set([row for row in cosines.argsort(descending=True).tolist() if row != place][:10])

    expected = [1 - len(nearest(student, row) & nearest(teacher, row)) / 10 for row in range(40)]
    assert student_errors(student, teacher, "overlap").tolist() == pytest.approx(expected)


def test_nearest_texts_of_fewer_than_eleven_are_all_others():
    assert nearest_texts(cloud(4, 3, 0)).sort(dim=1).values.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_difficult_texts_are_the_largest_errors_above_the_threshold():
    errors = torch.tensor([0.1, 0.9, 0.5, 0.7, 0.0, 0.5, 0.2, 0.3, 0.4, 0.6])
    assert difficult_texts(errors, 0.4, 0.0).tolist() == [1, 3, 9, 2]
    assert difficult_texts(errors, 0.4, 0.5).tolist() == [1, 3, 9]
    assert difficult_texts(errors, 0.4, 0.9).tolist() == []


def test_hand_values_of_mined_neighbours():
    degrees = torch.tensor([0.0, 10.0, 25.0, 90.0, 70.0, 45.0]).deg2rad()
    teacher = torch.stack([degrees.cos(), degrees.sin()], dim=1) * torch.tensor(
        [[1.0], [2.0], [9.0], [1.0], [3.0], [1]]
    )
    difficult = torch.tensor([0, 3])
    # 0 degrees takes 10 and 25, then 90 degrees takes 70 and 45: the length of a vector does not matter.
    mined, parents = mine(teacher, difficult, torch.tensor([2, 2]), 9)
    assert (mined.tolist(), parents.tolist()) == ([1, 2, 4, 5], [0, 0, 3, 3])
    mined, parents = mine(teacher, difficult, torch.tensor([0, 2]), 1)
    assert (mined.tolist(), parents.tolist()) == ([4], [3])


def test_a_text_is_mined_once_and_never_for_itself():
    mined, parents = mine(cloud(12, 3, 0), torch.arange(12), torch.full((12,), 3), 99)
    assert len(mined) == len(set(mined.tolist())) == 12
    assert (mined != parents).all()


def test_one_difficult_text_is_the_parent_of_a_limited_number_in_all_rounds(make_setting):
    plain = make_setting()
    bad = numpy.zeros((120, 1), dtype=numpy.float32)
    comd = Comd(first=20, picks=10, share=0.75, neighbours=3)
    bad[int((~comd.build(plain).selected).nonzero()[0])] = 1
    state = run(comd, make_setting(student=lambda rows: plain.targets(rows) + bad[rows]), 5)
    assert (state.joined > 0).sum() == 6
    assert state.parent[state.parent >= 0].tolist() == [int(bad.argmax())] * 3


def test_texts_near_a_failure_are_added_and_random_growth_misses_them(make_setting):
    # Ten texts share a direction that the student does not know. All other texts are perfect.
    teacher = numpy.eye(16, dtype=numpy.float32)[numpy.where(numpy.arange(120) < 110, 0, 1)]
    student = numpy.eye(16, dtype=numpy.float32)[numpy.zeros(120, dtype=int)]
    setting = make_setting(dim=16, targets=lambda rows: teacher[rows], student=lambda rows: student[rows])
    fields = {"first": 20, "picks": 8, "share": 0.75}
    mined = rows_of(run(Comd(**fields), setting, 1).parent >= 0)
    assert len(mined) == 4
    assert min(mined) >= 110
    random = run(Comd(growth="random", **fields), setting, 1)
    assert int((random.joined == 15).sum()) == 8
    assert (random.parent == -1).all()
    assert int((random.joined[110:] == 15).sum()) < 4


@pytest.mark.parametrize("error", ["distance", "overlap"])
@pytest.mark.parametrize("unreserved", [0, 1, 2])
def test_a_round_with_hardly_any_held_text_adds_none(error, unreserved, make_setting):
    setting = make_setting(**unlike(make_setting()))
    comd = Comd(error=error, **SIZES)
    state = comd.build(setting)
    held = rows_of(~state.selected)
    reserving = make_setting(**unlike(setting, withheld=numpy.array(held[unreserved:], dtype=numpy.int64)))
    comd.refresh(state, reserving, 15)
    assert int(state.selected.sum()) == 20


def test_growth_stops_at_the_share_and_the_teacher_encodes_all_texts(setting):
    comd = Comd(first=20, picks=10, share=0.4)
    state = comd.build(setting)
    sizes = []
    for step in range(6):
        comd.refresh(state, setting, step * comd.every)
        pool = comd.feed(Pool(rows=numpy.arange(120)), state)
        assert pool.rows.tolist() == rows_of(state.selected)
        sizes.append(len(pool.rows))
        assert comd.teacher_calls(120, state) == 120
    assert sizes == [20, 30, 40, 48, 48, 48]


@pytest.mark.parametrize("growth", ["neighbours", "random"])
def test_the_state_restores_everything(growth, setting):
    comd = Comd(growth=growth, **SIZES)
    state, fresh = run(comd, setting, 1), comd.build(setting)
    fresh.load_state_dict(state.state_dict())
    for some in (state, fresh):
        comd.refresh(some, setting, 30)
    assert all(torch.equal(value, fresh.state_dict()[name]) for name, value in state.state_dict().items())


def test_disabled_comd_returns_the_pool_and_measures_nothing(make_setting):
    def refuse(rows):
        raise AssertionError("asked")

    comd = Comd(**Comd.off)
    state = run(comd, make_setting(targets=refuse, student=refuse, withheld=numpy.arange(5)), 3)
    pool = Pool(rows=numpy.arange(120))
    assert comd.feed(pool, state) is pool


@pytest.mark.parametrize(
    "field",
    [
        {"every": -1},
        {"share": 0.0},
        {"error": "rank"},
        {"difficult": 0.0},
        {"difficult": 1.5},
        {"threshold": -0.1},
        {"neighbours": 0},
        {"easy": -1},
        {"growth": "none"},
    ],
)
def test_invalid_options_are_refused(field):
    with pytest.raises(OptionError, match=f"comd:{next(iter(field))} is .*; expected"):
        Comd(**field)


def test_a_training_counts_all_texts_as_encoded(tiny_teacher, tiny_texts, tmp_path):
    how = {"feeds": [Comd(every=1, first=10, picks=30)], "export": False, "cache": tmp_path / "cache"}
    facts = leafkit.distill(tiny_texts, tiny_teacher, "teacher:layers=1", tmp_path / "student", **how)
    assert facts.training["data"]["asked"] == facts.training["data"]["training"]
