"""ADPA and DCKD: the advantage of an aligned teacher, the lists that it is measured on, and the alignment."""

import numpy
import pytest
import torch
from torch.nn.functional import normalize

from leafkit.errors import OptionError
from leafkit.methods.candidates import document_rows, gold_cross_entropy
from leafkit.methods.objectives.adpa import Adpa, advantage, fit_alignment, reward


def draw(rows, count, seed, scale=1.0):
    return scale * torch.randn(rows, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small(**fields):
    return Adpa(**{**Adpa.small, **fields})


@pytest.fixture
def built(make_setting, monkeypatch):
    """Build the method on pairs where every third query has the next document as its answer."""

    monkeypatch.setattr("leafkit.methods.objectives.adpa.STEPS", 40)

    def build(**fields):
        method = small(**fields)
        return method, method.build(make_setting())

    return build


PAIRED = range(0, 120, 6)


def test_the_same_teacher_twice_leaves_the_nll_and_no_other_gradient(built, make_batch):
    method, state = built(dckd=0.0)
    state.change.zero_()
    batch = make_batch(PAIRED)
    terms = method.terms(batch, state)
    assert not terms["advantage"].any()
    (gradient,) = torch.autograd.grad(terms["advantage"].sum(), batch.raw)
    assert gradient.abs().max() < 1e-7
    logits = state.items.logits(batch.student, state.items.lists)
    assert torch.allclose(terms["nll"], gold_cross_entropy(logits, state.items.gold))
    assert (terms["nll"] > 0).all()


def test_the_gradient_of_the_reward_is_q_times_the_advantage_over_its_mean():
    logits, advantages = draw(5, 7, 0).requires_grad_(), draw(5, 7, 1)
    (gradient,) = torch.autograd.grad(-reward(logits, advantages).sum(), logits)
    q = logits.detach().softmax(-1)
    mean = (q * advantages).sum(-1, keepdim=True)
    assert torch.allclose(gradient, -q * (advantages - mean))
    (shifted,) = torch.autograd.grad(-reward(logits, advantages + draw(5, 1, 2)).sum(), logits)
    assert torch.allclose(gradient, shifted)


def test_the_reward_pulls_to_the_aligned_and_pushes_from_the_reference():
    student, aligned, reference = draw(6, 8, 0), draw(6, 8, 1), draw(6, 8, 2)
    q, p, r = (logits.log_softmax(-1) for logits in (student, aligned, reference))
    kls = [torch.nn.functional.kl_div(to, q, reduction="none", log_target=True).sum(-1) for to in (r, p)]
    assert torch.allclose(reward(student, advantage(aligned, reference, 100.0)), kls[0] - kls[1])


def test_without_the_nll_the_optimum_is_all_mass_on_the_largest_advantage():
    advantages = draw(4, 6, 3)
    logits = torch.zeros(4, 6, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.5)
    for _ in range(200):
        optimiser.zero_grad()
        (-reward(logits, advantages).sum()).backward()
        optimiser.step()
    q = logits.detach().softmax(-1)
    assert torch.equal(q.argmax(-1), advantages.argmax(-1))
    assert (q.amax(-1) > 0.999).all()


def test_dckd_without_divergences_is_the_nll(built, make_batch):
    method, state = built(dckd=1.0, alpha=0.0)
    terms = method.terms(make_batch(PAIRED), state)
    assert set(terms) == {"nll", "dckd"}
    assert not terms["dckd"].any()
    assert torch.equal(terms["nll"], small(dckd=0.0).terms(make_batch(PAIRED), state)["nll"])


def test_dckd_is_the_divergence_on_lists_around_the_answer_and_around_the_best_wrong_document(
    built, make_batch, make_setting
):
    method, state = built(dckd=1.0, alpha=0.5)
    setting, batch = make_setting(), make_batch(PAIRED)
    documents = setting.targets(document_rows(setting))
    expected = numpy.zeros(len(PAIRED))
    temperature = float(state.items.temperature)
    aligned = batch.teacher.numpy() @ (numpy.eye(setting.dim) + state.change.numpy().T)
    aligned /= numpy.linalg.norm(aligned, axis=1, keepdims=True)
    student = batch.student.detach().numpy()
    for line, row in enumerate(PAIRED):
        right = document_rows(setting).tolist().index(row + 1)
        wrong = next(d for d in numpy.argsort(-documents @ batch.teacher[line].numpy()) if d != right)
        for centre in (right, wrong):
            around = documents[numpy.argsort(-documents @ documents[centre])[:8]]
            p, q = (numpy.exp(around @ side[line] / temperature) for side in (aligned, student))
            p, q = p / p.sum(), q / q.sum()
            expected[line] += 0.5 * (p * numpy.log(p / q)).sum()
    assert numpy.allclose(method.terms(batch, state)["dckd"].detach().numpy(), expected, rtol=1e-3)


def test_advantages_are_floored_and_clipped():
    aligned, reference = torch.tensor([[0.0, 100.0, 3.0]]), torch.tensor([[50.0, 0.0, 0.0]])
    wide = advantage(aligned, reference, 100.0)
    floor = numpy.log(1e-7)
    assert wide[0].tolist() == pytest.approx([floor, -floor, 0.0], abs=1e-4)
    assert advantage(aligned, reference, 5.0)[0].tolist() == pytest.approx([-5.0, 5.0, 0.0], abs=1e-4)
    assert advantage(aligned, None, 100.0)[0].tolist() == pytest.approx([floor, 0.0, floor], abs=1e-4)


@pytest.mark.parametrize("reference", [True, False])
def test_the_advantage_is_measured_on_the_students_own_lists(reference, built, make_batch, make_setting):
    method, state = built(dckd=0.0, reference=reference, gamma=2.0)
    method.refresh(state, make_setting(), 0)
    batch = make_batch(PAIRED)
    teacher = batch.teacher + batch.teacher @ state.change.T
    aligned, base, student = (state.items.logits(side, state.own) for side in (teacher, batch.teacher, batch.student))
    gain = reward(student, advantage(aligned, base if reference else None, 5.0))
    assert torch.allclose(method.terms(batch, state)["advantage"], -2.0 * gain)


def test_the_own_lists_are_what_the_student_retrieves_now(built, make_setting):
    method, state = built(dckd=0.0)
    setting = make_setting()
    documents = torch.from_numpy(setting.targets(document_rows(setting)))
    for offset in (0, 1):
        moved = make_setting(student=lambda rows, offset=offset: setting.student(rows + offset))
        method.refresh(state, moved, 5 * offset)
        scores = torch.from_numpy(moved.student(numpy.array(PAIRED))) @ documents.T
        assert torch.equal(state.own, scores.argsort(dim=1, descending=True)[:, :8])


def test_dckd_comes_first_and_the_student_is_not_asked_for_lists_before_adpa_reads_them(
    built, make_batch, make_setting
):
    method, state = built(dckd=0.3)
    assert state.start == 30
    names = {step: set(method.terms(make_batch(step=step), state)) for step in (0, 29, 30)}
    assert names == {0: {"nll", "dckd"}, 29: {"nll", "dckd"}, 30: {"nll", "advantage"}}
    asked = []
    watched = make_setting(student=lambda rows: asked.append(len(rows)) or make_setting().student(rows))
    for step, expected in ((0, 0), (25, 0), (30, 1), (35, 2)):
        method.refresh(state, watched, step)
        assert len(asked) == expected


def test_texts_without_a_pair_have_no_loss(built, make_batch):
    for dckd in (0.0, 1.0):
        method, state = built(dckd=dckd)
        for loss in method.terms(make_batch(range(1, 6)), state).values():
            assert not loss.any()


def test_the_alignment_recovers_a_planted_map_and_keeps_the_teacher_where_pairs_say_nothing():
    documents = normalize(draw(200, 8, 0).float(), dim=-1)
    skew = draw(8, 8, 1, 0.2).float()
    turn = torch.matrix_exp(skew - skew.T)
    pairs = torch.stack([torch.arange(200), torch.arange(200)], dim=1)
    queries = documents @ turn
    aligned = queries + queries @ fit_alignment(queries, documents, pairs, seed=0).T
    found = [(side @ documents.T).argmax(1) == torch.arange(200) for side in (queries, aligned)]
    assert found[0].float().mean() < 0.5
    assert found[1].float().mean() > 0.8
    shuffled = torch.stack([torch.arange(200), torch.randperm(200, generator=torch.Generator().manual_seed(1))], dim=1)
    assert not fit_alignment(queries, documents, shuffled[:1], seed=0).any()


def test_the_alignment_stops_where_held_out_queries_lose():
    documents = normalize(draw(60, 32, 0).float(), dim=-1)
    pairs = torch.stack([torch.arange(60), torch.randperm(60, generator=torch.Generator().manual_seed(1))], dim=1)
    queries = normalize(draw(60, 32, 2).float(), dim=-1)
    order = torch.from_numpy(numpy.random.default_rng([0, 43]).permutation(60))[:6]
    change = fit_alignment(queries, documents, pairs, seed=0)
    answer = torch.nn.functional.one_hot(pairs[order, 1], 60).bool()
    losses = [
        gold_cross_entropy(normalize(queries + queries @ one.T, dim=-1)[order] @ documents.T / 0.05, answer).mean()
        for one in (torch.zeros(32, 32), change)
    ]
    assert losses[1] <= losses[0]


@pytest.mark.parametrize(
    "fields", [{"dckd": 1.1}, {"gamma": -1}, {"alpha": -0.1}, {"clip": 0}, {"count": 1}, {"every": -1}]
)
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"adpa:{next(iter(fields))} is .*; expected"):
        Adpa(**fields)


def test_plans_that_cannot_work_are_refused_before_encoding(make_setting):
    assert Adpa().needs == {"pairs"}
    with pytest.raises(OptionError, match="adpa:count is 61; expected 2 to 60"):
        small(count=61).check(make_setting())
    with pytest.raises(OptionError, match="adpa needs pairs"):
        small().check(make_setting(pairs=numpy.zeros((0, 2), numpy.int64)))
