"""FAISS files: each that leafkit writes is opened again, and no other reaches FAISS."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import faiss
import numpy
import pytest

from leafkit.errors import DamageError, OptionError
from leafkit.search.faiss_fields import Fields, FormatError
from leafkit.search.faiss_file import check_faiss_file
from leafkit.search.faiss_index import Depth, FaissIndex
from leafkit.search.plan import Plan

ROWS, DIM = 320, 16
VECTORS = numpy.random.default_rng(0).standard_normal((ROWS, DIM)).astype(numpy.float32)
VECTORS /= numpy.linalg.norm(VECTORS, axis=1, keepdims=True)
FACTORIES = """
Flat SQ4 SQ6 SQ8 SQfp16 SQbf16 PQ4x4 PQ4x6np PQ4x4fs PQ4x4fs_64 RaBitQ RaBitQ3 RaBitQfs RaBitQfs3_64
HNSW8,Flat HNSW8,SQ8 HNSW8,SQfp16 HNSW8,SQbf16
IVF4,Flat IVF4,SQ8 IVF4,PQ4x4np IVF4,PQ4x4fs IVF4,PQ4x4fsr IVF4,RaBitQ IVF4,RaBitQ4 IVF4,RaBitQfs IVF4,RaBitQfs3
IVF300_HNSW4,Flat IVF4(SQ8),SQ8 IVF4(HNSW4,SQ8),Flat
PCA8,IVF4,SQ8 PCAR8,SQ8 OPQ4_8,PQ4x4np ITQ8,SQ8 ITQ,Flat RR8,Flat HR,Flat L2norm,Flat Pad20,Flat
PQ4x4np,RFlat IVF4,PQ4x4fs,Refine(SQ8) PCA8,IVF4,PQ4x4np,Refine(SQfp16)
BFlat BHNSW8 BIVF4 BIVF4_HNSW4
""".split()


def empty(factory: str) -> FaissIndex:
    return FaissIndex.empty(Plan(factory=factory, binary=factory.startswith("B")), DIM)


@cache
def built(factory: str) -> tuple[FaissIndex, dict[str, bytes]]:
    """Return a full index, and what is written of it when it is untrained, trained, full, with a table, and cleared."""
    index = empty(factory)
    written = {"untrained": serialise(index)}
    index.train(VECTORS)
    written["trained"] = serialise(index)
    index.add(VECTORS)
    written["full"] = serialise(index)
    if index.can_reconstruct:  # from here on, inverted lists carry a table of rows
        index.vectors(numpy.arange(3))
    written["table"] = serialise(index)
    index.clear()
    written["cleared"] = serialise(index)
    index.add(VECTORS)
    return index, written


def full(factory: str) -> bytes:
    return built(factory)[1]["full"]


def serialise(index: FaissIndex) -> bytes:
    return (faiss.serialize_index_binary if index.binary else faiss.serialize_index)(index.native).tobytes()


def check(content: bytes, *, dim: int = DIM, binary: bool = False) -> int:
    return check_faiss_file(Fields(content), dim=dim, binary=binary)


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_index_is_accepted_in_every_state_that_is_written(factory: str) -> None:
    index, written = built(factory)
    rows = {state: check(content, binary=index.binary) for state, content in written.items()}
    assert rows == {"untrained": 0, "trained": 0, "full": ROWS, "table": ROWS, "cleared": 0}


@pytest.mark.parametrize("factory", FACTORIES)
def test_an_index_that_was_read_answers_like_the_one_in_memory(factory: str, tmp_path: Path) -> None:
    index = built(factory)[0]
    index.write(tmp_path / "index")
    for memory_map in (True, False):
        read = FaissIndex.read(tmp_path / "index", dim=DIM, binary=index.binary, memory_map=memory_map)
        both = [i.nearest(VECTORS[:5], 9, bits=None, depth=Depth()) for i in (index, read)]
        assert numpy.array_equal(*both)
        assert read.can_reconstruct == index.can_reconstruct
        if index.can_reconstruct:
            assert numpy.array_equal(read.vectors(numpy.arange(ROWS)), index.vectors(numpy.arange(ROWS)))


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_file_that_is_too_short_or_too_long_is_refused(factory: str) -> None:
    index, content = built(factory)[0], full(factory)
    lengths = {*range(120), *range(120, len(content), 997), len(content) - 1}
    for changed in (*(content[:length] for length in sorted(lengths)), content + b"\0"):
        with pytest.raises(FormatError, match=r"truncated|follow its end|number of rows"):
            check(changed, binary=index.binary)


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_header_of_another_width_metric_or_number_of_rows_is_refused(factory: str) -> None:
    index, content = built(factory)[0], full(factory)
    with pytest.raises(FormatError, match=r"the number of (components|bits) is"):
        check(content, dim=DIM + 8, binary=index.binary)
    rows = content.index(ROWS.to_bytes(8, "little"))
    for count in (0, 1, ROWS - 64, ROWS + 1, 1 << 40, (1 << 64) - 1):
        with pytest.raises(FormatError):
            check(content[:rows] + count.to_bytes(8, "little") + content[rows + 8 :], binary=index.binary)


class Noted(Fields):
    """Fields that remember where each named vector stands, and where the rows of each inverted list."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.vectors: dict[str, tuple[int, numpy.ndarray]] = {}
        self.lists: list[tuple[int, numpy.ndarray]] = []

    def vector(self, dtype: str, counts: int | None, name: str) -> numpy.ndarray:
        values = super().vector(dtype, counts, name)
        self.vectors[name] = (self._position - values.nbytes, values.copy())
        return values

    def array(self, dtype: str, count: int) -> numpy.ndarray:
        values = super().array(dtype, count)
        if dtype == "<i8" and count:
            self.lists.append((self._position - values.nbytes, values.copy()))
        return values


def noted(content: bytes, *, binary: bool = False) -> Noted:
    fields = Noted(content)
    check_faiss_file(fields, dim=DIM, binary=binary)
    return fields


def with_array(content: bytes, place: int, array: numpy.ndarray) -> bytes:
    return content[:place] + array.tobytes() + content[place + array.nbytes :]


def test_a_graph_with_a_false_link_or_offset_is_refused() -> None:
    """FAISS reads the links of a node above its level from behind the end of the graph, if it is led there."""
    content = full("HNSW8,Flat")
    arrays = noted(content).vectors
    place, links = arrays["the links"]
    levels, offsets = arrays["the levels"][1], arrays["the offsets of the links"][1].astype(int)
    high, low = numpy.flatnonzero(levels > 1)[0], numpy.flatnonzero(levels == 1)[-1]
    for slot, target, message in (
        (5, ROWS, "leads to no row"),
        (5, -2, "leads to no row"),
        (offsets[high] + 16, low, "leaves its level"),  # behind the 16 links of the lowest level
    ):
        changed = links.copy()
        changed[slot] = target
        with pytest.raises(FormatError, match=message):
            check(with_array(content, place, changed))
    place, values = arrays["the offsets of the links"]
    values[7] += 1
    with pytest.raises(FormatError, match="offsets do not fit"):
        check(with_array(content, place, values))


@pytest.mark.parametrize(
    ("factory", "name", "dtype"),
    [
        ("HNSW8,Flat", "the vectors", "f4"),
        ("HNSW8,SQfp16", "the codes", "f2"),
        ("HNSW8,SQbf16", "the codes", "u2"),
        ("HNSW8,SQ8", "the ranges of the scalar quantiser", "f4"),
        ("IVF4_HNSW4,SQ8", "the vectors", "f4"),
        ("PCA8,SQ8", "the matrix", "f4"),
        ("PQ4x4", "the centroids of the product quantiser", "f4"),
    ],
)
def test_numbers_with_which_a_distance_can_be_nan_are_refused(factory: str, name: str, dtype: str) -> None:
    """A graph whose distances are NaN may be searched for ever."""
    content = full(factory)
    place, values = noted(content).vectors[name]
    for bad in (numpy.array([0xFFFF], "u2"),) if dtype == "u2" else numpy.array([[numpy.nan], [-numpy.inf]], dtype):
        changed = values.view(dtype).copy()
        changed[-1] = bad[0]
        with pytest.raises(FormatError, match="holds a number that is not finite or too large"):
            check(with_array(content, place, changed))


@pytest.mark.parametrize("row", [-1, ROWS, 1 << 40, None])
@pytest.mark.parametrize("factory", ["IVF4,Flat", "IVF4,PQ4x4fs", "BIVF4"])
def test_a_list_with_a_row_that_does_not_exist_or_stands_twice_is_refused(factory: str, row: int | None) -> None:
    index, content = built(factory)[0], full(factory)
    place, ids = noted(content, binary=index.binary).lists[0]
    ids[2] = ids[0] if row is None else row
    with pytest.raises(FormatError, match=r"a row that does not exist|a row is in no list|expected each of"):
        check(with_array(content, place, ids), binary=index.binary)


def test_lists_that_need_more_memory_than_their_file_allows_are_refused() -> None:
    content = serialise(empty("IVF4,Flat"))
    place = content.index((4).to_bytes(8, "little"))
    with pytest.raises(FormatError, match="the number of lists is 67108864"):
        check(content[:place] + (1 << 26).to_bytes(8, "little") + content[place + 8 :])


@pytest.mark.parametrize("factory", ["IDMap,Flat", "NSG8,Flat", "IVF4,FlatDedup", "EDEN4", "RQ2x4", "PCA8,NSG8,Flat"])
def test_a_type_that_leafkit_does_not_build_is_refused(factory: str) -> None:
    native = faiss.index_factory(DIM, factory, faiss.METRIC_INNER_PRODUCT)
    with pytest.raises(FormatError, match="it holds an index of the type"):
        check(faiss.serialize_index(native).tobytes())


def test_another_metric_is_refused() -> None:
    native = faiss.index_factory(DIM, "HNSW8,Flat", faiss.METRIC_L2)
    native.add(VECTORS)
    with pytest.raises(FormatError, match="the metric is 1, expected 0"):
        check(faiss.serialize_index(native).tobytes())


def test_an_index_that_could_not_be_opened_again_is_not_written(tmp_path: Path) -> None:
    """PCAW divides by the spread along each component, and here there is none in half of them."""
    index = empty("PCAW16,Flat")
    index.train(VECTORS * (numpy.arange(DIM) < 8))
    with pytest.raises(OptionError, match="the trained index cannot be used: the matrix holds a number that is not"):
        index.write(tmp_path / "index")


def test_what_is_not_a_regular_file_with_content_is_damage(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("empty")
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("empty", "it is empty"), ("none", "missing"), ("link", "a symbolic link"), ("pipe", "pipe")):
        with pytest.raises(DamageError, match=message):
            FaissIndex.read(tmp_path / name, dim=DIM, binary=False, memory_map=True)


def test_a_search_that_skips_almost_all_rows_keeps_a_bounded_number_of_nodes_open() -> None:
    assert [Depth().within(share).nodes for share in (1, 0.5, 0.01, 1e-9)] == [128, 256, 12_800, 1 << 15]
    assert Depth(nodes=100_000).within(0.5).nodes == 100_000
    assert [Depth(lists=10).filtered(share).lists_of(512) for share in (1, 0.5, 0.1, 0.001)] == [65, 65, 250, 512]
    assert [Depth().filtered(share).nodes for share in (1, 0.5)] == [256, 512]
