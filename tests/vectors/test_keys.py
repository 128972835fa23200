import numpy
from hypothesis import given
from hypothesis import strategies as st

from leafkit.files.digest import text_key
from leafkit.vectors.keys import KeyIndex, first_occurrences, text_keys

# Only five different halves, so that many keys share the first half, which almost never happens with real keys.
HALF = st.integers(0, 4)
KEYS = st.lists(st.tuples(HALF, HALF), max_size=40)


def as_keys(pairs):
    return numpy.array(pairs, dtype=numpy.uint64).reshape(-1, 2)


@given(st.lists(KEYS, max_size=5), KEYS)
def test_the_index_agrees_with_a_dict_of_first_rows(parts, sought):
    index = KeyIndex.empty()
    for part in parts:
        index = index.extended(as_keys(part))
    flat = [pair for part in parts for pair in part]
    first = {pair: flat.index(pair) for pair in flat}
    assert index.find(as_keys(sought)).tolist() == [first.get(pair, -1) for pair in sought]
    assert len(index) == len(flat)


@given(KEYS)
def test_first_occurrences_keep_their_order(pairs):
    assert [pairs[at] for at in first_occurrences(as_keys(pairs))] == list(dict.fromkeys(pairs))


@given(st.lists(st.tuples(st.text(), st.sampled_from(["query", "document"])), max_size=20))
def test_keys_are_the_digests_of_text_and_role(rows):
    keys = text_keys([text for text, _ in rows], [role for _, role in rows])
    assert keys.tobytes() == b"".join(text_key(role, text) for text, role in rows)
