"""Talking Models: what passes through the frozen teacher, what the codecs can keep, and the rivals of each loss."""

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.objectives.talking import Codecs, Talking, _layer, mean_of_tokens
from tests.methods.conftest import DIM, ToyTeacher

ROWS = numpy.arange(8)


@pytest.fixture
def live():
    return ToyTeacher()


@pytest.fixture
def same(make_setting, make_batch, live):
    """The setting and a batch of a student that is the teacher itself, with identity codecs after `build`."""
    setting = make_setting(width=DIM)

    def batch(rows):
        made = make_batch(rows, setting=setting)
        states = [live.states(made.features, layer).requires_grad_() for layer in range(1, 5)]
        vectors = live.vectors(made.features)
        return make_batch(
            rows, setting=setting, states=tuple(states), hidden=vectors.clone().requires_grad_(), teacher=vectors
        )

    return make_setting(width=DIM, batch=batch), batch(ROWS)


def identity(state):
    for codecs in (state.low, state.high):
        for codec in (codecs.student, codecs.teacher):
            for linear in (codec.encode, codec.decode):
                with torch.no_grad():
                    linear.weight.copy_(torch.eye(*linear.weight.shape))
                    linear.bias.zero_()
    return state


@pytest.mark.parametrize("fields", [{}, {"rounds": 3}, {"path": "reply"}, {"path": "hint"}])
def test_a_student_that_is_the_teacher_has_no_loss_with_identity_codecs(same, fields):
    setting, batch = same
    method = Talking(message=DIM, **fields)
    terms = method.terms(batch, identity(method.build(setting)))
    assert list(terms) == ["interact", "message", "state"]
    for loss in terms.values():
        torch.testing.assert_close(loss, torch.zeros(8), atol=1e-9, rtol=0)


def test_the_gradient_passes_through_the_teacher_and_does_not_train_it(make_setting, make_batch, live):
    method = Talking(consistency=0, states=0)
    state = method.build(make_setting(live=live))
    batch = make_batch(ROWS)
    method.terms(batch, state)["interact"].sum().backward()
    assert len(list(state.parameters())) == 16  # four linear codecs at each level, and nothing of the teacher
    codecs = state.low.student.encode, state.low.teacher.decode, state.high.teacher.encode, state.high.student.decode
    for tensor in (batch.states[0], batch.hidden, *(codec.weight for codec in codecs)):
        assert tensor.grad.abs().max() > 1e-6
    assert batch.states[1].grad is None
    assert state.low.student.decode.weight.grad is None


def test_the_question_reaches_the_answer_but_the_reply_ignores_it(make_setting, make_batch):
    batch = make_batch(ROWS)
    other = make_batch(ROWS, states=tuple(states.detach().flip(-1) for states in batch.states), hidden=batch.hidden)
    for path, changes in (("both", True), ("reply", False)):
        method = Talking(path=path)
        state = method.build(make_setting())
        before, after = (method.terms(each, state)["interact"] for each in (batch, other))
        assert (not torch.equal(before, after)) == changes


def test_a_hint_adds_the_low_states_to_the_reply(make_setting, make_batch):
    batch, setting = make_batch(ROWS), make_setting()
    reply, hint = (Talking(path=path) for path in ("reply", "hint"))
    state = hint.build(setting)
    low = state.low.student.decode(state.low.teacher.encode(setting.live.states(batch.features, 1)))
    mask = batch.features["attention_mask"].numpy()
    squares = ((batch.states[0] - low) ** 2).sum(dim=-1).detach().numpy() / float(state.low.variance_of_student)
    expected = [row[kept == 1].mean() for row, kept in zip(squares, mask, strict=True)]
    added = hint.terms(batch, state)["interact"] - reply.terms(batch, state)["interact"]
    numpy.testing.assert_allclose(added.detach(), expected, rtol=1e-4)


def test_a_message_as_wide_as_the_states_keeps_them_and_a_narrower_one_cannot():
    draw = torch.Generator().manual_seed(1)
    student, teacher = torch.randn(400, 6, generator=draw), torch.randn(400, 10, generator=draw)
    for message in (10, 12):
        codecs = Codecs.fit(student, teacher, message)
        for name, states in (("student", student), ("teacher", teacher)):
            assert codecs.kept(states, name).max() < 1e-6
    for message in (2, 5):
        codecs = Codecs.fit(student, teacher, message)
        for name, states in (("student", student), ("teacher", teacher)):
            values = torch.linalg.svdvals(states - states.mean(dim=0)).square()
            bound = values[message:].sum() / values.sum()
            lost = codecs.kept(states, name).mean()
            assert lost > bound - 1e-5  # no linear map of this rank loses less
            if name == "teacher":
                torch.testing.assert_close(lost, bound)


def test_a_codec_is_fitted_to_the_message_of_the_teacher():
    draw = torch.Generator().manual_seed(2)
    student = torch.randn(300, 6, generator=draw)
    teacher = student @ torch.randn(6, 9, generator=draw) + 3
    codecs = Codecs.fit(student, teacher, 4)
    asked, taught = codecs.student.encode(student), codecs.teacher.encode(teacher)
    assert codecs.apart(asked, taught, "message").mean() < 1e-5
    torch.testing.assert_close(taught.mean(dim=0), torch.zeros(4), atol=1e-4, rtol=0)


def test_message_and_state_against_numpy(make_setting, make_batch):
    method = Talking(consistency=0.5, states=2.0, message=3)
    setting, batch = make_setting(), make_batch(ROWS)
    state = method.build(setting)
    taught = setting.live.states(batch.features, 1)
    mask = batch.features["attention_mask"].numpy()

    def linear(layer, states):
        return states @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()

    message, kept = numpy.zeros(8), numpy.zeros(8)
    levels = [(state.low, batch.states[0], taught, True), (state.high, batch.hidden, batch.teacher, False)]
    for codecs, student, teacher, of_tokens in levels:
        student, teacher = student.detach().numpy(), teacher.numpy()
        said = [linear(codec.encode, x) for codec, x in ((codecs.student, student), (codecs.teacher, teacher))]
        apart = ((said[0] - said[1]) ** 2).sum(axis=-1) / float(codecs.variance_of_message)
        lost = sum(
            ((linear(codec.decode, encoded) - x) ** 2).sum(axis=-1) / float(variance)
            for codec, encoded, x, variance in (
                (codecs.student, said[0], student, codecs.variance_of_student),
                (codecs.teacher, said[1], teacher, codecs.variance_of_teacher),
            )
        )
        message += (apart * mask).sum(axis=1) / mask.sum(axis=1) if of_tokens else apart
        kept += (lost * mask).sum(axis=1) / mask.sum(axis=1) if of_tokens else lost
    terms = method.terms(batch, state)
    numpy.testing.assert_allclose(terms["message"].detach(), 0.5 * message, rtol=1e-4)
    numpy.testing.assert_allclose(terms["state"].detach(), 2.0 * kept, rtol=1e-4)


def test_the_teacher_hears_states_of_its_own_length(make_setting, make_batch):
    method, heard = Talking(), []
    setting, batch = make_setting(), make_batch(ROWS)
    state = method.build(setting)
    taught = setting.live.states(batch.features, 1)
    state.live.onward = lambda states, features, layer: heard.append((states, layer)) or taught.mean(dim=1)
    method.answer(batch, state, batch.states[0], taught)
    torch.testing.assert_close(heard[0][0].norm(dim=-1), taught.norm(dim=-1))
    assert heard[0][1] == 1


def test_a_second_round_starts_from_what_was_understood(make_setting, make_batch):
    setting, batch = make_setting(), make_batch(ROWS)
    one, two = Talking(consistency=0, states=0), Talking(consistency=0, states=0, rounds=2)
    state = one.build(setting)
    taught = setting.live.states(batch.features, 1)
    understood = state.high.student.decode(state.high.teacher.encode(one.answer(batch, state, batch.states[0], taught)))
    moved = tuple(states + (understood - batch.hidden)[:, None] for states in batch.states)
    again = make_batch(ROWS, states=moved, hidden=batch.hidden)
    first, second = (one.terms(each, state)["interact"] for each in (batch, again))
    torch.testing.assert_close(two.terms(batch, state)["interact"], first + second)


def test_without_rounds_only_the_task_is_left(make_setting, make_batch):
    method = Talking(rounds=0)
    assert method.terms(make_batch(ROWS), method.build(make_setting())) == {}


def test_padding_takes_no_part():
    losses = torch.tensor([[1.0, 3.0, 100.0], [2.0, 4.0, 6.0]])
    assert mean_of_tokens(losses, torch.tensor([[1, 1, 0], [1, 1, 1]])).tolist() == [2.0, 4.0]


def test_the_low_layer_is_a_share_of_the_layers_and_never_the_last():
    assert [_layer(depth, 1 / 3) for depth in (2, 3, 6, 12)] == [1, 1, 2, 4]
    assert [_layer(depth, 0.99) for depth in (2, 3, 12)] == [1, 2, 11]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"path": "none"}, "both, reply, hint"),
        ({"rounds": -1}, "0 or more"),
        ({"interact": -1.0}, "0 or more"),
        ({"low": 1.0}, "more than 0 and less than 1"),
        ({"message": 0}, "1 or more"),
    ],
)
def test_invalid_options_are_refused(fields, expected):
    with pytest.raises(OptionError, match=f"talking:{next(iter(fields))} is .*; expected {expected}"):
        Talking(**fields)


def test_a_method_without_terms_and_a_student_of_one_layer_are_refused(make_setting):
    with pytest.raises(OptionError, match="talking has no term, because all of its factors are 0"):
        Talking(interact=0, consistency=0, states=0)
    with pytest.raises(OptionError, match="talking needs a student with 2 or more layers; got 1"):
        Talking().check(make_setting(depth=1))
    with pytest.raises(TypeError, match="talking must need 'live'"):
        Talking().build(make_setting(live=None))
