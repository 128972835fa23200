"""The batches that feeds choose, also in a resumed training."""

import dataclasses

import numpy
import pytest
import torch

from leafkit.methods.method import Feed
from leafkit.methods.plan import Plan
from leafkit.methods.setting import Pool, Setting
from leafkit.training.active_methods import ActiveMethods
from leafkit.training.batches import batches_from, drawn_batches
from leafkit.training.recipe import Recipe

LENGTHS = numpy.random.default_rng(0).integers(3, 30, size=90)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watch(Feed):
    """A feed that draws from the first rows, and from more of them after each refresh."""

    first: int = 20

    def build(self, setting):
        state = torch.nn.Module()
        state.register_buffer("seen", torch.tensor(0))
        return state

    def refresh(self, state, setting, step):
        state.seen += 1

    def feed(self, pool, state):
        return Pool(rows=pool.rows[: self.first * int(state.seen)])


@pytest.fixture
def active_methods():
    def make(*feeds):
        rows = numpy.arange(90)
        setting = Setting(
            dim=4, width=4, depth=1, steps=40, epoch_steps=9, validations=11, batch_size=10, seed=3, roles=rows % 2,
            labels=rows % 3, domains=rows % 2, lengths=LENGTHS, pairs=rows[:60].reshape(-1, 2), reserved=rows[:0],
            targets=None, student=None, hidden=None, texts_of=None, batch=None, ask=None, live=None, open=None,
            other_teacher=None,
        )  # fmt: skip
        plan = Plan(step_methods={("train", "half", "type")[i]: feed for i, feed in enumerate(feeds)}, probes={})
        return ActiveMethods(plan, setting, Recipe(), torch.device("cpu"))

    return make


def taken(batches):
    return [batch.tolist() for batch in batches]


def test_without_feeds_the_rows_are_those_of_plain_training(active_methods):
    plain = batches_from(LENGTHS, batch_size=10, seed=3, start=0, stop=40)
    assert taken(active_methods().batches(LENGTHS, start=0, stop=40)) == taken(plain)


def test_a_feed_refreshes_after_each_period(active_methods):
    batches = taken(active_methods(Watch(every=10)).batches(LENGTHS, start=0, stop=40))
    for part, most in enumerate((20, 40, 60, 80)):
        rows = {row for batch in batches[10 * part : 10 * part + 10] for row in batch}
        assert rows == set(range(most))


def test_resuming_at_any_step_gives_the_same_remaining_batches(active_methods):
    whole = taken(active_methods(Watch(every=10)).batches(LENGTHS, start=0, stop=40))
    for stop in (1, 9, 10, 11, 25, 39):
        first = active_methods(Watch(every=10))
        rows = first.batches(LENGTHS, start=0, stop=40)
        before = [next(rows).tolist() for _ in range(stop)]
        later = active_methods(Watch(every=10))
        later.restore(first.tensors().__getitem__)
        assert before + taken(later.batches(LENGTHS, start=stop, stop=40)) == whole


def test_the_number_of_draws_of_a_row_is_within_one_of_its_share():
    weights = numpy.where(numpy.arange(30) < 10, 3.0, 1.0)
    pool = Pool(rows=numpy.arange(50, 80), weights=weights)
    drawn = numpy.concatenate(drawn_batches(LENGTHS, pool, batch_size=10, seed=0, begin=5, count=20))
    counts = numpy.bincount(drawn, minlength=90)[50:80]
    assert counts.sum() == 200
    assert numpy.all(numpy.abs(counts - 200 * weights / weights.sum()) < 1)


def test_a_row_of_weight_zero_is_never_drawn():
    pool = Pool(rows=numpy.arange(30), weights=numpy.where(numpy.arange(30) % 2, 1.0, 0.0))
    drawn = numpy.concatenate(drawn_batches(LENGTHS, pool, batch_size=10, seed=1, begin=0, count=7))
    assert set(drawn % 2) == {1}


def test_without_weights_no_row_repeats_before_all_rows_were_drawn():
    pool = Pool(rows=numpy.arange(40, 65))
    drawn = numpy.concatenate(drawn_batches(LENGTHS, pool, batch_size=10, seed=1, begin=0, count=6))
    assert set(numpy.bincount(drawn, minlength=65)[40:]) == {2, 3}
