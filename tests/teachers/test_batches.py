import numpy
from hypothesis import given
from hypothesis import strategies as st

from leafkit.texts.batches import length_batches

LENGTHS = st.lists(st.integers(0, 50), max_size=60)


@given(LENGTHS, st.integers(1, 120), st.none() | st.integers(1, 8))
def test_every_text_is_in_one_batch_and_no_batch_exceeds_its_limits(lengths, tokens, rows):
    batches = length_batches(numpy.array(lengths, dtype=numpy.int64), tokens=tokens, rows=rows)
    assert sorted(at for batch in batches for at in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[at] for at in batch)
        assert padded <= tokens or len(batch) == 1
        assert rows is None or len(batch) <= rows


@given(LENGTHS)
def test_batches_are_sorted_from_long_to_short(lengths):
    batches = length_batches(numpy.array(lengths, dtype=numpy.int64), tokens=100)
    order = [lengths[at] for batch in batches for at in batch]
    assert order == sorted(lengths, reverse=True)


def test_a_thousand_texts_get_less_than_five_percent_padding():
    lengths = numpy.random.default_rng(0).integers(1, 256, size=1000)
    batches = length_batches(lengths, tokens=4096)
    assert sum(len(batch) * lengths[batch].max() for batch in batches) < 1.05 * lengths.sum()
