"""Check a FAISS file before FAISS reads it, so that a damaged or hostile one is an error and never a crash.

FAISS believes most of what it reads: a size that contradicts another, or a row that does not exist, makes it read
foreign memory, allocate without limit or search for ever. The functions here follow the format of FAISS 1.15
(``faiss/impl/index_write.cpp``), one for each type that leafkit builds, and accept no other type. Vectors and codes
are skipped, except those from which a graph computes distances.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from leafkit.search.faiss_fields import Fields, FormatError, require, require_bounded
from leafkit.search.faiss_parts import (
    fast_scan_layout,
    read_array_lists,
    read_block_lists,
    read_direct_map,
    read_graph,
    read_product_quantiser,
    read_rabitq,
    read_scalar_quantiser,
    read_transform,
)

# FAISS needs some 170 bytes of memory for each inverted list, however small the file, and the check some microseconds.
_LISTS, _MOST_LISTS, _BYTES_PER_LIST = 1 << 16, 1 << 20, 64

# Reads what follows the name of a type: an index of `dim` components. Returns its number of rows.
_Reader = Callable[[Fields, int], int]


def check_faiss_file(fields: Fields, *, dim: int, binary: bool) -> int:
    """Return the number of rows of the index in a file; raises `FormatError` if FAISS must not read the file.

    ``dim`` is the number of components, which is rounded up to a multiple of 8 in a ``binary`` index.
    """
    rows = _BINARY(fields, -(-dim // 8) * 8) if binary else _ANY(fields, dim)
    fields.end()
    return rows


def _one_of(readers: dict[str, _Reader]) -> _Reader:
    """Return a reader of an index whose type is one of ``readers``."""

    def read(fields: Fields, dim: int) -> int:
        kind = fields.kind()
        if kind not in readers:
            raise FormatError(f"it holds an index of the type {kind!r} where {' or '.join(readers)} is expected")
        return readers[kind](fields, dim)

    return read


def _header(fields: Fields, dim: int) -> tuple[int, bool]:
    """Read what every index begins with; returns its number of rows and whether it is trained."""
    fields.expect("i", dim, "the number of components")
    rows = fields.between("q", 0, fields.size, "the number of rows")
    fields.number("q")  # two numbers that FAISS does not use
    fields.number("q")
    trained = fields.flag("is_trained")
    require(trained or not rows, f"the index has {rows} rows, but is not trained")
    fields.expect("i", 0, "the metric")
    return rows, trained


def _read_flat(fields: Fields, dim: int, *, bounded: bool = False) -> int:
    rows, _ = _header(fields, dim)
    vectors = fields.vector("<f4", rows * dim, "the vectors")
    if bounded:
        require_bounded(vectors, "<f4", "the vectors")
    return rows


def _read_scalar(fields: Fields, dim: int, *, bounded: bool = False) -> int:
    rows, trained = _header(fields, dim)
    size, dtype = read_scalar_quantiser(fields, dim, trained)
    codes = fields.vector("u1", rows * size, "the codes")
    if bounded and dtype is not None:
        require_bounded(codes, dtype, "the vectors")
    return rows


def _read_product(fields: Fields, dim: int) -> int:
    rows, _ = _header(fields, dim)
    quantiser = read_product_quantiser(fields, dim, 16)
    fields.vector("u1", rows * quantiser.code_size, "the codes")
    fields.expect("i", 0, "the type of search")
    fields.expect("B", 0, "encode_signs")
    fields.between("i", 0, 1 << 20, "the polysemous threshold")
    return rows


def _read_whole_blocks(fields: Fields, rows: int, block: int) -> None:
    """Read the number of rows rounded up to blocks, which FAISS forgets to set when it removes all rows."""
    blocks = -(-rows // block) * block
    fields.between("Q", blocks, blocks if rows else 1 << 62, "the number of rows in whole blocks")


def _read_product_fast(fields: Fields, dim: int) -> int:
    rows, _ = _header(fields, dim)
    quantiser = read_product_quantiser(fields, dim, 4, least_bits=4)
    fields.expect("i", 0, "the implementation")
    block = fields.between("i", 32, 1024, "the block size")
    fields.expect("i", 0, "the query block size")
    _read_whole_blocks(fields, rows, block)
    stride = fast_scan_layout(fields, quantiser.parts, block)
    fields.vector("u1", -(-rows // block) * stride, "the codes")
    return rows


def _read_rabitq(fields: Fields, dim: int, *, one_bit: bool) -> int:
    rows, trained = _header(fields, dim)
    quantiser = read_rabitq(fields, dim, one_bit=one_bit)
    fields.vector("u1", rows * quantiser.code_size, "the codes")
    fields.floats(dim if trained else None, "the centre")
    fields.between("B", 0, 8, "the bits of a query")
    return rows


def _read_rabitq_fast(fields: Fields, dim: int) -> int:
    rows, trained = _header(fields, dim)
    quantiser = read_rabitq(fields, dim, one_bit=False)
    fields.floats(dim if trained else None, "the centre")
    fields.between("B", 1, 8, "the bits of a query")
    block = fields.between("i", 32, 1024, "the block size")
    _read_whole_blocks(fields, rows, block)
    stride = fast_scan_layout(fields, -(-dim // 4), block) + quantiser.factors * block
    fields.expect("Q", quantiser.code_size, "the size of a code")
    fields.vector("u1", -(-rows // block) * stride, "the codes")
    return rows


def _read_pre_transform(fields: Fields, dim: int) -> int:
    rows, trained = _header(fields, dim)
    width = dim
    for _ in range(fields.between("i", 1, 8, "the number of transforms")):
        width = read_transform(fields, width, trained)
    require(_CODED(fields, width) == rows, f"the index behind the transforms does not have {rows} rows")
    return rows


def _read_refine(fields: Fields, dim: int) -> int:
    rows, _ = _header(fields, dim)
    require(_UNREFINED(fields, dim) == rows, f"the index to refine does not have {rows} rows")
    require(_REFINEMENT(fields, dim) == rows, f"the index that refines does not have {rows} rows")
    fields.between("f", 1, 1000, "the factor of candidates")
    return rows


def _graph(storage: dict[str, _Reader]) -> _Reader:
    """Return a reader of a graph between the rows of an index of one of the types in ``storage``."""

    def read(fields: Fields, dim: int) -> int:
        rows, _ = _header(fields, dim)
        read_graph(fields, rows)
        require(_one_of(storage)(fields, dim) == rows, f"the vectors of the graph are not {rows}")
        return rows

    return read


def _lists_header(fields: Fields, dim: int, rows: int, trained: bool, quantiser: _Reader) -> int:
    """Read what all inverted lists begin with, up to their codec; returns their number."""
    limit = min(_MOST_LISTS, max(_LISTS, rows, fields.size // _BYTES_PER_LIST))
    lists = fields.between("Q", 1, limit if trained else _LISTS, "the number of lists")
    fields.between("Q", 1, 1 << 31, "the number of lists to visit")
    centroids = quantiser(fields, dim)
    require(centroids == (lists if trained else 0), f"{lists} lists have {centroids} centroids")
    read_direct_map(fields, rows)
    return lists


def _read_lists_flat(fields: Fields, dim: int) -> int:
    rows, trained = _header(fields, dim)
    lists = _lists_header(fields, dim, rows, trained, _COARSE)
    read_array_lists(fields, lists, 4 * dim, rows)
    return rows


def _read_lists_scalar(fields: Fields, dim: int) -> int:
    rows, trained = _header(fields, dim)
    lists = _lists_header(fields, dim, rows, trained, _COARSE)
    size, _ = read_scalar_quantiser(fields, dim, trained)
    fields.expect("Q", size, "the size of a code")
    fields.flag("by_residual")
    read_array_lists(fields, lists, size, rows)
    return rows


def _read_lists_product(fields: Fields, dim: int) -> int:
    rows, trained = _header(fields, dim)
    lists = _lists_header(fields, dim, rows, trained, _COARSE)
    fields.flag("by_residual")
    size = fields.number("Q")
    quantiser = read_product_quantiser(fields, dim, 16)
    require(size == quantiser.code_size, f"the size of a code is {size}, expected {quantiser.code_size}")
    read_array_lists(fields, lists, size, rows)
    return rows


def _read_lists_product_fast(fields: Fields, dim: int) -> int:
    rows, trained = _header(fields, dim)
    lists = _lists_header(fields, dim, rows, trained, _COARSE)
    fields.flag("by_residual")
    size = fields.number("Q")
    block = fields.between("i", 32, 1024, "the block size")
    parts = fields.number("Q")
    fields.expect("i", 0, "the implementation")
    fields.expect("Q", 0, "the query block size")
    quantiser = read_product_quantiser(fields, dim, 4, least_bits=4)
    require(size == quantiser.code_size, f"the size of a code is {size}, expected {quantiser.code_size}")
    require(parts == quantiser.parts + quantiser.parts % 2 and block % 32 == 0, "the blocks do not fit the codes")
    read_block_lists(fields, lists, block, parts // 2 * block, rows)
    return rows


def _read_lists_rabitq(fields: Fields, dim: int, *, one_bit: bool) -> int:
    rows, trained = _header(fields, dim)
    lists = _lists_header(fields, dim, rows, trained, _COARSE)
    size = read_rabitq(fields, dim, one_bit=one_bit).code_size
    fields.expect("Q", size, "the size of a code")
    fields.expect("B", 1, "by_residual")
    fields.between("B", 0, 8, "the bits of a query")
    read_array_lists(fields, lists, size, rows)
    return rows


def _read_lists_rabitq_fast(fields: Fields, dim: int) -> int:
    rows, trained = _header(fields, dim)
    lists = _lists_header(fields, dim, rows, trained, _COARSE)
    quantiser = read_rabitq(fields, dim, one_bit=False)
    fields.expect("B", 1, "by_residual")
    fields.expect("Q", quantiser.code_size, "the size of a code")
    block = fields.between("i", 32, 1024, "the block size")
    fields.expect("Q", 0, "the query block size")
    stride = fast_scan_layout(fields, -(-dim // 4), block) + quantiser.factors * block
    fields.expect("i", 0, "the implementation")
    fields.between("B", 1, 8, "the bits of a query")
    fields.flag("centered")
    read_block_lists(fields, lists, block, stride, rows)
    return rows


def _binary_header(fields: Fields, dim: int) -> tuple[int, bool]:
    fields.expect("i", dim, "the number of bits")
    fields.expect("i", dim // 8, "the size of a code")
    rows = fields.between("q", 0, fields.size, "the number of rows")
    trained = fields.flag("is_trained")
    require(trained or not rows, f"the index has {rows} rows, but is not trained")
    fields.expect("i", 1, "the metric")
    return rows, trained


def _read_binary_flat(fields: Fields, dim: int) -> int:
    rows, _ = _binary_header(fields, dim)
    fields.vector("u1", rows * dim // 8, "the codes")
    return rows


def _read_binary_graph(fields: Fields, dim: int) -> int:
    rows, _ = _binary_header(fields, dim)
    read_graph(fields, rows)
    require(_BINARY_FLAT(fields, dim) == rows, f"the codes of the graph are not {rows}")
    return rows


def _read_binary_lists(fields: Fields, dim: int) -> int:
    rows, trained = _binary_header(fields, dim)
    lists = _lists_header(fields, dim, rows, trained, _BINARY_COARSE)
    read_array_lists(fields, lists, dim // 8, rows)
    return rows


# The types, by the four letters with which FAISS marks them, and where each may stand.
_FLAT: dict[str, _Reader] = {"IxFI": _read_flat}
_SCALAR: dict[str, _Reader] = {"IxSQ": _read_scalar}
_PRODUCT: dict[str, _Reader] = {"IxPq": _read_product}
# A graph compares vectors until none is nearer, which ends only if every distance is a number.
_GRAPHS: dict[str, _Reader] = {
    "IHNf": _graph({"IxFI": partial(_read_flat, bounded=True)}),
    "IHNs": _graph({"IxSQ": partial(_read_scalar, bounded=True)}),
}
_COARSE = _one_of({"IxFI": partial(_read_flat, bounded=True), **_SCALAR, **_GRAPHS})
_CODED_TYPES: dict[str, _Reader] = {
    **_FLAT, **_SCALAR, **_PRODUCT, **_GRAPHS,
    "IPfs": _read_product_fast,
    "Ixrq": partial(_read_rabitq, one_bit=True),
    "Ixrr": partial(_read_rabitq, one_bit=False),
    "Irfn": _read_rabitq_fast,
    "IwFl": _read_lists_flat,
    "IwSq": _read_lists_scalar,
    "IwPQ": _read_lists_product,
    "IwPf": _read_lists_product_fast,
    "Iwrq": partial(_read_lists_rabitq, one_bit=True),
    "Iwrr": partial(_read_lists_rabitq, one_bit=False),
    "Iwrn": _read_lists_rabitq_fast,
}  # fmt: skip
_CODED = _one_of(_CODED_TYPES)
_REFINEMENT = _one_of({**_FLAT, **_SCALAR, **_PRODUCT})
_UNREFINED = _one_of({**_CODED_TYPES, "IxPT": _read_pre_transform})
_ANY = _one_of({**_CODED_TYPES, "IxPT": _read_pre_transform, "IxRF": _read_refine})
_BINARY_FLAT = _one_of({"IBxF": _read_binary_flat})
_BINARY_COARSE = _one_of({"IBxF": _read_binary_flat, "IBHf": _read_binary_graph})
_BINARY = _one_of({"IBxF": _read_binary_flat, "IBHf": _read_binary_graph, "IBwF": _read_binary_lists})
