from itertools import pairwise

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leafkit.training.batches import batches_from, epoch_batches, parts_of, share_of


def lengths(rows, seed=0):
    return numpy.random.default_rng(seed).integers(1, 60, size=rows)


@given(st.integers(1, 500), st.integers(1, 40), st.integers(0, 5))
def test_an_epoch_holds_every_text_once(rows, batch_size, epoch):
    batches = epoch_batches(lengths(rows), batch_size=batch_size, seed=1, epoch=epoch)
    assert sorted(numpy.concatenate(batches)) == list(range(rows))
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    assert sum(len(batch) < batch_size for batch in batches) <= 1


@given(st.integers(1, 300), st.integers(1, 40), st.data())
def test_resuming_at_any_step_sees_the_batches_an_uninterrupted_run_sees(rows, batch_size, data):
    def steps(start, stop):
        found = batches_from(lengths(rows), batch_size=batch_size, seed=3, start=start, stop=stop)
        return [batch.tolist() for batch in found]

    total = 2 * -(-rows // batch_size) + 1
    cut = data.draw(st.integers(0, total))
    assert steps(0, cut) + steps(cut, total) == steps(0, total)


def test_texts_of_a_batch_have_similar_lengths():
    sizes = lengths(20_000)
    padded = sum(len(batch) * sizes[batch].max() for batch in epoch_batches(sizes, batch_size=32, seed=0, epoch=0))
    shuffled = numpy.random.default_rng(0).permutation(sizes).reshape(-1, 32)
    assert padded < 1.05 * sizes.sum()
    assert padded < 0.6 * (shuffled.max(axis=1) * 32).sum()


def test_batches_depend_only_on_seed_and_epoch():
    def order(seed, epoch):
        return numpy.concatenate(epoch_batches(lengths(200), batch_size=8, seed=seed, epoch=epoch)).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) != order(0, 1)


def test_batches_are_not_in_order_of_length():
    sizes = lengths(5000)
    longest = [sizes[batch].max() for batch in epoch_batches(sizes, batch_size=32, seed=0, epoch=0)]
    assert abs(numpy.corrcoef(longest, numpy.arange(len(longest)))[0, 1]) < 0.3


@pytest.mark.parametrize("world", [1, 2, 3, 40])
def test_processes_share_a_batch_without_overlap(world):
    batch = numpy.arange(32)
    shares = [share_of(batch, rank, world) for rank in range(world)]
    assert sorted(numpy.concatenate(shares)) == batch.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.lists(st.integers(1, 60), min_size=1, max_size=50), st.integers(1, 300))
def test_no_part_of_a_batch_exceeds_the_token_limit_unless_it_is_one_text(its_lengths, tokens):
    batch, its_lengths = numpy.arange(100, 100 + len(its_lengths)), numpy.array(its_lengths)
    parts = parts_of(batch, its_lengths, tokens)
    assert numpy.concatenate(parts).tolist() == batch.tolist()
    for part in parts:
        assert len(part) == 1 or len(part) * its_lengths[part - 100].max() <= tokens
    # No two neighbours would have fitted into one part.
    for one, other in pairwise(parts):
        assert (len(one) + 1) * its_lengths[[*(one - 100), other[0] - 100]].max() > tokens
