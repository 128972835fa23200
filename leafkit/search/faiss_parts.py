"""The parts of which FAISS files are made: codecs, transforms, graphs and inverted lists. See `faiss_file`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.search.faiss_fields import Fields, FormatError, require

# Scalar quantisers: bits per component, trained numbers per component, and the type of values that are stored as such.
_SCALAR_TYPES = {
    0: (8, 2, None),
    1: (4, 2, None),
    4: (16, 0, "<f2"),
    6: (6, 2, None),
    7: (16, 0, "bfloat16"),
}
_MOST_WIDTH = 1 << 16  # components behind a transform


@dataclass(frozen=True, slots=True)
class Codec:
    """The shape of the codes of a quantiser: bytes of a code, its parts, and its bytes of factors (RaBitQ)."""

    code_size: int
    parts: int = 1
    factors: int = 0


def read_scalar_quantiser(fields: Fields, dim: int, trained: bool) -> tuple[int, str | None]:
    """Return the size of a code and, where codes are floats, their type."""
    kind = fields.number("i")
    require(kind in _SCALAR_TYPES, f"the scalar quantiser has the type {kind}")
    bits, per_component, dtype = _SCALAR_TYPES[kind]
    fields.between("i", 0, 3, "the statistic of the range")
    fields.between("f", -100, 100, "the argument of the range")
    fields.expect("Q", dim, "the width of the scalar quantiser")
    size = -(-dim * bits // 8)
    fields.expect("Q", size, "the size of a code")
    fields.floats(per_component * dim if trained else 0, "the ranges of the scalar quantiser")
    return size, dtype


def read_product_quantiser(fields: Fields, dim: int, most_bits: int, *, least_bits: int = 1) -> Codec:
    """Return the shape of the codes of a product quantiser."""
    fields.expect("Q", dim, "the width of the product quantiser")
    parts = fields.between("Q", 1, dim, "the number of parts of a code")
    require(dim % parts == 0, f"{dim} components are not a multiple of {parts} parts")
    bits = fields.between("Q", least_bits, most_bits, "the bits of a part")
    fields.floats(dim << bits, "the centroids of the product quantiser")
    return Codec(-(-parts * bits // 8), parts)


def read_rabitq(fields: Fields, dim: int, *, one_bit: bool) -> Codec:
    """Return the shape of the codes of a RaBitQ quantiser, which names its bits only if they may be several."""
    fields.expect("Q", dim, "the width of the quantiser")
    size = fields.number("Q")
    fields.expect("i", 0, "the metric of the quantiser")
    extra = 0 if one_bit else fields.between("Q", 1, 9, "the bits of a component") - 1
    factors = 8 if not extra else 12 + 8 + -(-dim * extra // 8)
    require(size == -(-dim // 8) + factors, f"the size of a code is {size}, expected {-(-dim // 8) + factors}")
    return Codec(size, factors=factors)


def fast_scan_layout(fields: Fields, parts: int, block: int) -> int:
    """Read the parts of a code rounded up to 2; returns the bytes of a block of codes of 4 bits each."""
    require(block % 32 == 0, f"the block size is {block}, expected a multiple of 32")
    even = parts + parts % 2
    fields.expect("Q", even, "the parts of a code in a block")
    return even // 2 * block


def read_transform(fields: Fields, width: int, trained: bool) -> int:
    """Read a transform of vectors with ``width`` components; returns the number of components behind the transform."""
    kind = fields.kind()
    if kind in ("LTra", "rrot", "Pcam", "Viqm"):
        return _read_linear(fields, kind, width, trained)
    if kind == "Viqt":
        mean = fields.floats(None, "the mean of the transform")
        fields.flag("do_pca")
        require(fields.kind() == "Viqm", "a rotation is missing in the ITQ transform")
        _read_linear(fields, "Viqm", None, trained)
        require(fields.kind() == "LTra", "a matrix is missing in the ITQ transform")
        behind = _read_linear(fields, "LTra", width if trained else None, trained)
        require(len(mean) == width or not trained, f"the mean holds {len(mean)} numbers, expected {width}")
        return _read_widths(fields, width, behind if trained else None, trained)[1]
    if kind == "RmDT":
        places = fields.vector("<i4", None, "the places of components")
        require(bool(numpy.all((places >= -1) & (places < width))), f"a component is taken from beyond {width}")
        return _read_widths(fields, width, len(places), trained)[1]
    if kind == "VNrm":
        fields.expect("f", 2, "the norm")
        return _read_widths(fields, width, width, trained=False)[1]
    if kind == "HRot":
        fields.number("I")  # the seed
        return _read_widths(fields, width, 1 << (width - 1).bit_length(), trained=False)[1]
    raise FormatError(f"a transform of the type {kind!r} is not allowed")


def _read_linear(fields: Fields, kind: str, width: int | None, trained: bool) -> int:
    """Read a matrix and its bias, with what a principal component analysis or an ITQ rotation writes before them."""
    if kind == "Pcam":
        fields.between("f", -1, 1, "the power of eigenvalues")
        fields.between("f", 0, 1, "epsilon")
        fields.flag("random_rotation")
        fields.between("i", 0, _MOST_WIDTH, "balanced_bins")
        for name in ("the mean", "the eigenvalues", "the principal components"):
            fields.floats(None, name)
    elif kind == "Viqm":
        fields.number("i")  # rounds of training and their seed
        fields.number("i")
    biased = fields.flag("have_bias")
    matrix, bias = fields.floats(None, "the matrix"), fields.floats(None, "the bias")
    before, behind = _read_widths(fields, width, None, trained)
    if trained:
        require(len(matrix) == before * behind, f"the matrix holds {len(matrix)} numbers, expected {before} x {behind}")
        require(len(bias) == (behind if biased else 0), f"the bias holds {len(bias)} numbers")
    return behind


def _read_widths(fields: Fields, width: int | None, behind: int | None, trained: bool) -> tuple[int, int]:
    """Read the widths before and behind a transform, which must be those given, and whether it is ``trained``."""
    before = fields.between("i", width or 1, width or _MOST_WIDTH, "the width before a transform")
    after = fields.between("i", behind or 1, behind or _MOST_WIDTH, "the width behind a transform")
    require(fields.flag("is_trained") or not trained, "a transform is not trained")
    return before, after


def read_graph(fields: Fields, rows: int) -> None:
    """Read the links between ``rows`` nodes: each has all its levels, and each link leads to a node of that level."""
    chances = fields.vector("<f8", None, "the chances of the levels")
    require(bool(numpy.all((chances >= 0) & (chances <= 1))), "the chance of a level is not between 0 and 1")
    slots = fields.vector("<i4", len(chances) + 1, "the slots of the levels").astype(numpy.int64)
    require(len(slots) <= 64 and slots[0] == 0 and bool(numpy.all(numpy.diff(slots) > 0)), "the levels have no slots")
    levels = fields.vector("<i4", rows, "the levels")
    require(not rows or bool(levels.min() >= 1 and levels.max() < len(slots)), "a node has a level that does not exist")
    offsets = fields.vector("<u8", rows + 1, "the offsets of the links")
    ends = numpy.concatenate([[0], numpy.cumsum(slots[levels])])
    require(bool(numpy.array_equal(offsets, ends.astype(numpy.uint64))), "the offsets do not fit the levels")
    links = fields.vector("<i4", int(ends[-1]), "the links")
    require(not len(links) or bool(links.min() >= -1 and links.max() < rows), "a link leads to no row")
    _check_upper_links(links, levels, ends, slots)
    start, top = fields.number("i"), fields.number("i")
    if rows:
        require(0 <= start < rows and top == levels[start] - 1 == levels.max() - 1, "the first node is not on top")
    else:
        require((start, top) == (-1, -1), "an empty graph has a first node")
    fields.between("i", 1, 4096, "efConstruction")
    fields.between("i", 1, 4096, "efSearch")
    fields.expect("i", 1, "upper_beam")


def _check_upper_links(links: NDArray[Any], levels: NDArray[Any], ends: NDArray[Any], slots: NDArray[Any]) -> None:
    """Require that links above the lowest level lead to nodes that have this level: others have no slots there."""
    for level in range(1, len(slots) - 1):
        nodes = numpy.flatnonzero(levels > level)
        if not len(nodes):
            return
        places = ends[nodes, None] + numpy.arange(slots[level], slots[level + 1])
        targets = links[places]
        require(bool(numpy.all(levels[targets[targets >= 0]] > level)), "a link leaves its level")


def read_direct_map(fields: Fields, rows: int) -> None:
    """Read the table from rows to their places in the lists, which leafkit makes anew before it uses the table."""
    kind = fields.between("B", 0, 1, "the type of the direct map")
    fields.vector("<i8", rows if kind else 0, "the direct map")


def read_array_lists(fields: Fields, lists: int, size: int, rows: int) -> None:
    """Read inverted lists of codes with ``size`` bytes: each row of the index is in one of them, once."""
    require(fields.kind() == "ilar", "the inverted lists are of another type")
    fields.expect("Q", lists, "the number of inverted lists")
    fields.expect("Q", size, "the size of a code in the lists")
    kind = fields.kind()
    require(kind in ("full", "sprs"), f"the sizes of the lists are of the type {kind!r}")
    if kind == "full":
        sizes = fields.vector("<u8", lists, "the sizes of the lists")
    else:
        pairs = fields.vector("<u8", None, "the sizes of the lists")
        require(len(pairs) % 2 == 0, "a list has no size")
        numbers, sizes = pairs[::2], pairs[1::2]
        require(not len(numbers) or bool(numbers.max() < lists), "a list does not exist")
        require(bool(numpy.all(numbers[1:] > numbers[:-1])), "a list has two sizes")
    require(not len(sizes) or bool(sizes.max() <= rows), "a list is longer than the index")
    require(int(sizes.sum()) == rows, f"the lists hold {int(sizes.sum())} rows, expected {rows}")
    found = numpy.zeros(rows, dtype=bool)
    for length in sizes[sizes > 0].tolist():
        fields.array("u1", length * size)
        _mark(found, fields.array("<i8", length))
    require(bool(found.all()), "a row is in no list")


def read_block_lists(fields: Fields, lists: int, block: int, stride: int, rows: int) -> None:
    """Read inverted lists of codes in blocks of ``stride`` bytes: each row of the index is in one of them, once."""
    require(fields.kind() == "ilbl", "the inverted lists are of another type")
    fields.expect("Q", lists, "the number of inverted lists")
    fields.expect("Q", (1 << 64) - 1, "the size of a code in the lists")
    fields.expect("Q", block, "the rows of a block")
    fields.expect("Q", stride, "the bytes of a block")
    found = numpy.zeros(rows, dtype=bool)
    held = 0
    for _ in range(lists):
        ids = fields.vector("<i8", None, "the rows of a list")
        fields.vector("u1", -(-len(ids) // block) * stride, "the codes of a list")
        _mark(found, ids)
        held += len(ids)
    require(held == rows and bool(found.all()), f"the lists hold {held} rows, expected each of {rows} once")


def _mark(found: NDArray[numpy.bool_], ids: NDArray[Any]) -> None:
    """Note that the rows ``ids`` were found; raises `FormatError` for one that does not exist."""
    require(not len(ids) or bool(ids.min() >= 0 and ids.max() < len(found)), "a list holds a row that does not exist")
    found[ids] = True
