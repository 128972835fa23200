"""ACAM-KD: masks made from student and teacher, the distances that they weigh, and what keeps them from vanishing."""

from dataclasses import replace

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.batch import TokenStates
from leafkit.methods.objectives.acam import Acam, MaskGenerator, dice

FORMS = pytest.mark.parametrize("form", ["pooled", "tokens"])


def built(make_setting, **fields):
    torch.manual_seed(0)
    method = Acam(**fields)
    return method, method.build(make_setting())


def constant_masks(state, value):
    """Make all masks equal to ``value``: a mask is the sigmoid of a product with the fused states, here 1."""
    logit = float(numpy.log(value / (1 - value))) if 0 < value < 1 else 50.0
    state.generator.forward = lambda asking, asked, words: torch.ones_like(asked) * words[..., None]
    with torch.no_grad():
        state.generator.channel.fill_(logit)
        state.generator.position.fill_(logit / state.generator.position.shape[1])


def equal(batch):
    """The batch with a student that equals the teacher, in vectors and (of the same width) in token states."""
    teacher = batch.tokens.teacher
    tokens = TokenStates(student=teacher.clone().requires_grad_(), teacher=teacher, mask=batch.tokens.mask)
    return replace(batch, student=batch.teacher.clone().requires_grad_(), tokens=tokens)


@FORMS
@pytest.mark.parametrize("guard", ["detach", "mass", "none"])
def test_a_student_that_equals_the_teacher_has_no_distance_whatever_the_masks(form, guard, make_setting, make_batch):
    method, state = built(make_setting, form=form, guard=guard)
    if form == "tokens":
        state.align = torch.nn.Identity()
        state.align.weight = torch.zeros(())
    terms = method.terms(equal(make_batch()), state)
    assert (terms["diversity"] > 0).all()
    for name in terms.keys() - {"diversity"}:
        assert not terms[name].any()


def test_with_masks_of_one_the_pooled_distance_is_the_squared_distance(make_setting, make_batch):
    method, state = built(make_setting)
    constant_masks(state, 1)
    batch = make_batch()
    expected = (batch.teacher - batch.student).square().sum(dim=1)
    torch.testing.assert_close(method.terms(batch, state)["channel"], expected)


def test_with_masks_of_one_the_token_distances_are_the_mean_over_words_and_over_channels(make_setting, make_batch):
    method, state = built(make_setting, form="tokens")
    constant_masks(state, 1)
    batch = make_batch(range(5))
    terms = {name: loss.detach() for name, loss in method.terms(batch, state).items()}
    for row in range(5):
        words = batch.tokens.mask[row]
        difference = batch.tokens.teacher[row, words] - state.align(batch.tokens.student[row, words]).detach()
        total = float(difference.square().sum())
        assert float(terms["channel"][row]) == pytest.approx(total / int(words.sum()), rel=1e-4)
        assert float(terms["position"][row]) == pytest.approx(total / 8, rel=1e-4)


@pytest.mark.parametrize("power", [2, 3])
def test_the_distance_of_a_dimension_is_weighed_by_the_mean_power_of_its_masks(power, make_setting, make_batch):
    method, state = built(make_setting, power=power)
    batch = make_batch()
    generator, scale = state.generator, 8**0.5
    asking, asked = (vectors.detach().numpy() * scale for vectors in (batch.teacher, batch.student))
    query, key, value = (layer.weight.detach().numpy() for layer in (generator.query, generator.key, generator.value))
    scores = numpy.exp(asking @ query.T @ (asked @ key.T).T / 4**0.5)
    fused = scores / scores.sum(axis=1, keepdims=True) @ (asked @ value.T)
    masks = 1 / (1 + numpy.exp(-generator.channel.detach().numpy() * fused.mean(axis=0)))
    difference = (batch.teacher - batch.student).detach().numpy()
    expected = ((masks**power).mean(axis=0) * difference**2).sum(axis=1)
    numpy.testing.assert_allclose(method.terms(batch, state)["channel"].detach().numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_equal_masks_have_a_dice_overlap_of_their_number_less_one(count):
    assert float(dice(torch.rand(1, 20).expand(count, 20))) == pytest.approx(count - 1, abs=1e-5)


def test_masks_that_do_not_overlap_have_no_dice_overlap_and_others_that_of_the_formula():
    assert float(dice(torch.eye(4))) == 0
    masks = torch.rand(3, 7, generator=torch.Generator().manual_seed(1)).double()
    pairs = sum(float(masks[i] @ masks[j]) for i in range(3) for j in range(3) if i != j)
    squares = float(masks.square().sum())
    assert float(dice(masks)) == pytest.approx(2 * pairs / (squares + squares))


def test_attention_of_a_word_sums_to_one_over_the_words_and_padding_takes_no_part():
    torch.manual_seed(0)
    words = torch.tensor([[True, True, False, True, False], [False] * 5])
    attention = MaskGenerator(6, 2).attention(torch.randn(2, 5, 6), torch.randn(2, 5, 6), words)
    torch.testing.assert_close(attention.sum(dim=-1), words.float())
    assert not attention[:, :, ~words[0]].any()
    assert not attention[1].any()


def test_padding_and_special_tokens_change_nothing(make_setting, make_batch):
    method, state = built(make_setting, form="tokens")
    batch = make_batch()
    tokens = batch.tokens
    other = ~tokens.mask[..., None]
    changed = TokenStates(student=tokens.student + 9 * other, teacher=tokens.teacher - 7 * other, mask=tokens.mask)
    before, after = method.terms(batch, state), method.terms(replace(batch, tokens=changed), state)
    for name, loss in before.items():
        torch.testing.assert_close(after[name], loss)


def trained_masks(form, guard, make_setting, make_batch):
    """Train the masks for 200 steps beside a student that does not change, and return the mean of all masks."""
    method, state = built(make_setting, form=form, guard=guard)
    if form == "tokens":
        state.align.requires_grad_(False)
    optimiser = torch.optim.AdamW([each for each in state.parameters() if each.requires_grad], lr=0.1)
    batches = [make_batch(range(8 * part, 8 * part + 8)) for part in range(4)]
    still = [replace(batch, student=batch.student.detach()) for batch in batches]
    seen = []
    names = ("channel_masks", "position_masks")
    for name in names[: 1 + (form == "tokens")]:
        made = getattr(state.generator, name)
        setattr(state.generator, name, lambda *given, made=made: seen.append(made(*given)) or seen[-1])
    for step in range(200):
        optimiser.zero_grad()
        sum(loss.mean() for loss in method.terms(still[step % 4], state).values()).backward()
        optimiser.step()
    return float(torch.cat([masks.detach().flatten() for masks in seen[-8:]]).mean())


@FORMS
def test_masks_do_not_vanish_beside_a_student_that_stands_still(form, make_setting, make_batch):
    free, held = (trained_masks(form, guard, make_setting, make_batch) for guard in ("none", "detach"))
    assert held > max(0.1, free + 0.02)


def test_without_a_guard_the_distance_pushes_masks_down_and_with_one_it_does_not(make_setting, make_batch):
    batch = make_batch()
    for guard, pushed in (("none", True), ("detach", False)):
        method, state = built(make_setting, guard=guard, diversity=0)
        loss = method.terms(batch, state)["channel"].sum()
        gradient = torch.autograd.grad(loss, [state.generator.channel], allow_unused=True)[0]
        assert (gradient is not None) == pushed


def test_the_mass_of_each_mask_is_held(make_setting, make_batch):
    batch = make_batch()
    losses = []
    for shift in (0.2, 0.7):
        method, state = built(make_setting, guard="mass", mean=0.3)
        constant_masks(state, shift)
        losses.append(method.terms(batch, state)["channel"])
    expected = 0.3**2 * (batch.teacher - batch.student).square().sum(dim=1)
    torch.testing.assert_close(losses[0], expected)
    torch.testing.assert_close(losses[1], expected)


@FORMS
def test_the_student_gets_no_gradient_through_the_masks(form, make_setting, make_batch):
    method, state = built(make_setting, form=form)
    batch = make_batch()
    reached = [batch.raw, batch.tokens.student]
    loss = method.terms(batch, state)["diversity"].sum()
    assert torch.autograd.grad(loss, reached, retain_graph=True, allow_unused=True) == (None, None)
    assert torch.autograd.grad(loss, [state.generator.channel])[0].norm() > 0


@FORMS
@pytest.mark.parametrize(("fusion", "cooperative"), [("cooperative", True), ("reversed", True), ("teacher", False)])
def test_masks_of_the_teacher_alone_do_not_depend_on_the_student(form, fusion, cooperative, make_setting, make_batch):
    method, state = built(make_setting, form=form, fusion=fusion)
    batch, moved = make_batch(range(4)), make_batch(range(4), student=make_batch(range(8, 12)).student)
    tokens = batch.tokens
    moved = replace(moved, tokens=replace(tokens, student=tokens.student.flip(0)))
    same = torch.equal(method.terms(batch, state)["diversity"], method.terms(moved, state)["diversity"])
    assert same != cooperative


def test_the_first_dimensions_can_be_kept_out_of_the_masks(make_setting, make_batch):
    method, state = built(make_setting, kept=3)
    constant_masks(state, 0.5)
    batch = make_batch()
    squares = (batch.teacher - batch.student).square()
    expected = squares[:, :3].sum(dim=1) + 0.25 * squares[:, 3:].sum(dim=1)
    torch.testing.assert_close(method.terms(batch, state)["channel"], expected)
    with pytest.raises(OptionError, match=r"acam:kept is 8; expected less than 8"):
        Acam(kept=8).check(make_setting())


def test_the_alignment_starts_in_closed_form(make_setting, make_batch):
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2)))[0]

    def batch(rows):
        made = make_batch(rows)
        student = made.tokens.student
        return replace(made, tokens=replace(made.tokens, teacher=(student @ turn).detach()))

    state = Acam(form="tokens").build(make_setting(batch=batch))
    torch.testing.assert_close(state.align.weight, turn.T, rtol=1e-3, atol=1e-3)
    assert Acam(form="tokens").needs == {"tokens"}
    assert Acam().needs == frozenset()


@FORMS
@pytest.mark.parametrize("rows", [range(6), range(1)])
def test_both_forms_are_finite_and_follow_the_order_of_the_texts(form, rows, make_setting, make_batch):
    method, state = built(make_setting, form=form)
    batch = make_batch(rows, dtype=torch.bfloat16)
    terms = method.terms(batch, state)
    order = torch.arange(len(rows)).flip(0)
    tokens = TokenStates(**{name: value[order] for name, value in vars(batch.tokens).items()})
    flipped = replace(batch, student=batch.student[order], teacher=batch.teacher[order], tokens=tokens)
    for name, loss in method.terms(flipped, state).items():
        assert loss.isfinite().all()
        torch.testing.assert_close(loss, terms[name][order], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "fields", [{"masks": 0}, {"mean": 1}, {"power": 1}, {"guard": "no"}, {"fusion": "x"}, {"form": "x"}, {"kept": -1}]
)
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"acam:{next(iter(fields))} is .*; expected"):
        Acam(**fields)
