"""The texts of each step: every text once per epoch, with texts of similar length together, in a seeded order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy
from numpy.typing import NDArray

from leafkit.methods.setting import Pool
from leafkit.types import Int64

# Batches whose texts are sorted by length together.
POOL = 50


def epoch_batches(lengths: Int64, *, batch_size: int, seed: int, epoch: int) -> list[Int64]:
    """Return all rows of one epoch as batches of ``batch_size``; the last batch may be smaller.

    Rows are shuffled and taken in pools of 50 batches. Each pool is sorted by ``lengths``, (rows,), and cut into
    batches, and the batches of all pools are shuffled. The texts of a batch therefore have similar lengths, but meet
    other texts in every epoch. The same seed and epoch always give the same batches.
    """
    draw = numpy.random.default_rng([seed, epoch])
    order = draw.permutation(len(lengths))
    pools = _split(order, POOL * batch_size)
    batches = [part for pool in pools for part in _split(pool[numpy.argsort(lengths[pool], kind="stable")], batch_size)]
    return [batches[place] for place in draw.permutation(len(batches))]


def batches_from(lengths: Int64, *, batch_size: int, seed: int, start: int, stop: int) -> Iterator[Int64]:
    """Yield the batches of steps ``start`` to ``stop``, counted over all epochs, so that training resumes by number."""
    per_epoch = steps_per_epoch(len(lengths), batch_size)
    step = start
    while step < stop:
        epoch, skipped = divmod(step, per_epoch)
        batches = epoch_batches(lengths, batch_size=batch_size, seed=seed, epoch=epoch)
        for batch in batches[skipped : skipped + stop - step]:
            yield batch
            step += 1


def drawn_batches(lengths: Int64, pool: Pool, *, batch_size: int, seed: int, begin: int, count: int) -> list[Int64]:
    """Draw ``count`` batches from ``pool`` for the steps from ``begin`` on; equal arguments give equal batches."""
    rows: list[Int64] = []
    examples = count * batch_size
    if pool.weights is None:
        for round_ in range(-(-examples // len(pool.rows))):
            rows.append(pool.rows[numpy.random.default_rng([seed, begin, round_]).permutation(len(pool.rows))])
    else:
        rows.append(pool.rows[_in_proportion(pool.weights, examples, numpy.random.default_rng([seed, begin]))])
    drawn = numpy.concatenate(rows)[:examples]
    return [drawn[batch] for batch in epoch_batches(lengths[drawn], batch_size=batch_size, seed=seed, epoch=begin)]


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return the number of batches that hold ``rows`` texts."""
    return -(-rows // batch_size)


def examples_after(step: int, texts: int, batch_size: int) -> int:
    """Return the number of examples in the first ``step`` steps; the last batch of an epoch may be smaller."""
    epochs, rest = divmod(step, steps_per_epoch(texts, batch_size))
    return epochs * texts + min(rest * batch_size, texts)


def share_of(batch: Int64, rank: int, world: int) -> Int64:
    """Return the part of a global batch that process ``rank`` of ``world`` computes, which may be empty."""
    return batch[rank::world]


def parts_of(batch: Int64, lengths: Int64, tokens: int) -> list[Int64]:
    """Split ``batch`` into consecutive parts of at most ``tokens`` tokens each, padded to the longest text of a part.

    ``lengths`` are those of the texts, (rows,). A text of more than ``tokens`` tokens is a part of its own.
    """
    starts, longest = [0], 0
    for place, length in enumerate(lengths.tolist()):
        longest = max(longest, length)
        if place > starts[-1] and longest * (place + 1 - starts[-1]) > tokens:
            starts.append(place)
            longest = length
    return numpy.split(batch, starts[1:])


def _in_proportion(weights: NDArray[numpy.float64], count: int, draw: numpy.random.Generator) -> Int64:
    """Draw ``count`` places in proportion to ``weights`` by systematic sampling.

    The number of times that a place is drawn differs from its share of ``count`` by less than one.
    """
    order = draw.permutation(len(weights))
    edges = numpy.cumsum(weights[order]) / weights.sum() * count
    ticks = numpy.arange(count) + draw.random()
    places = numpy.searchsorted(edges, ticks, side="right").clip(max=len(weights) - 1)
    return draw.permutation(order[places])


def _split(rows: Int64, size: int) -> list[Int64]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def sample_rows(rows: Int64, most: int, seed: int) -> Int64:
    """Draw at most ``most`` of ``rows``, in ascending order."""
    return numpy.sort(numpy.random.default_rng(seed).permutation(rows)[:most])
