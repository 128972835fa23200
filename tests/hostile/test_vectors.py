"""Vectors files and stores that are damaged or malicious."""

import contextlib
import json
import pickle
import random
import struct

import numpy
import pyarrow
import pytest
from pyarrow import parquet

from leafkit.errors import DamageError, InputError, LeafkitError, VectorError
from leafkit.space import Space
from leafkit.teachers.open import open_teacher
from leafkit.vectors.store import VectorStore

SPACE = Space(teacher="t", weights="name:t", dim=2, normalised=False, pooling="mean", max_length=None)
VECTORS = numpy.array([[1, 2], [3, 4], [5, 6]], dtype=numpy.float32)
TEXTS = ["one", "two", "three"]


class Fixed:
    space = SPACE

    def encode(self, texts, role):
        return VECTORS[[TEXTS.index(text) for text in texts]]


@pytest.fixture
def npy(tmp_path):
    path = tmp_path / "v.npy"
    numpy.save(path, VECTORS)
    path.with_suffix(".jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return path


@pytest.fixture
def parquet_file(tmp_path):
    path = tmp_path / "v.parquet"
    parquet.write_table(pyarrow.table({"text": TEXTS, "vector": list(VECTORS)}), path)
    return path


@pytest.fixture
def store(tmp_path):
    store = VectorStore.open(tmp_path, SPACE)
    store.fill(Fixed(), TEXTS, "query")
    return store


def test_every_truncation_of_a_vectors_file_raises(npy, parquet_file):
    for path in (npy, parquet_file):
        whole = path.read_bytes()
        for size in [*range(0, len(whole), 37), len(whole) - 1]:
            path.write_bytes(whole[:size])
            with pytest.raises(VectorError):
                open_teacher(path)


def test_a_vectors_file_with_random_bytes_is_read_or_raises_an_error_of_leafkit(npy, parquet_file):
    draw = random.Random(0)
    for path in (npy, parquet_file, npy.with_suffix(".jsonl")):
        whole = path.read_bytes()
        for _ in range(150):
            changed = bytearray(whole)
            for at in draw.choices(range(len(whole)), k=3):
                changed[at] = draw.randrange(256)
            path.write_bytes(changed)
            with contextlib.suppress(LeafkitError):
                open_teacher(path if path.suffix != ".jsonl" else npy).encode(["one"], "query")
        path.write_bytes(whole)


def test_a_pickle_in_an_npy_file_is_never_executed(npy, tmp_path):
    mark = tmp_path / "it ran"

    class Harm:
        def __reduce__(self):
            return (open, (str(mark), "w"))

    objects = numpy.empty(3, dtype=object)
    objects[:] = [Harm()] * 3
    for content in (None, pickle.dumps(Harm())):
        if content is None:
            numpy.save(npy, objects, allow_pickle=True)
        else:
            npy.write_bytes(content)
        mark.unlink(missing_ok=True)
        with pytest.raises(VectorError):
            open_teacher(npy)
        assert not mark.exists()


def test_an_npy_file_shorter_than_its_header_says_raises(npy):
    header = repr({"descr": "<f4", "fortran_order": False, "shape": (10**12, 768)}).encode().ljust(117) + b"\n"
    npy.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(VectorError):
        open_teacher(npy)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 2)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (10**30, 2)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 400 + b", 2)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999999, 999999999999999)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': 3}",
        b"{'descr': '<f4', 'fortran_order': 'no', 'shape': (3, 2)}",
        b"{'descr': [('a', '<f4', (1000000, 1000000))], 'fortran_order': False, 'shape': (3, 2)}",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (3, 2)}",
        b"{'descr': 3, 'fortran_order': False, 'shape': (3, 2)}",
        b"__import__('os').system('touch exploded')",
        b"[" * 5000,
        b"-" * 5000 + b"1",
        b"'''",
        b"\xff\x00\n(",
        b"",
    ],
)
def test_a_hand_made_npy_header_raises(npy, header, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for start, form in ((b"\x93NUMPY\x01\x00", "<H"), (b"\x93NUMPY\x02\x00", "<I"), (b"\x93NUMPY\x03\x00", "<I")):
        npy.write_bytes(start + struct.pack(form, len(header)) + header + VECTORS.tobytes())
        with pytest.raises(VectorError, match=r"v\.npy is not a \.npy array"):
            open_teacher(npy)
    assert not (tmp_path / "exploded").exists()


def test_a_parquet_footer_that_records_more_rows_than_memory_holds_raises(parquet_file, monkeypatch):
    def too_much(shape, **_):
        raise MemoryError

    empty = numpy.empty
    monkeypatch.setattr(numpy, "empty", lambda shape, **how: (too_much if shape == (3, 2) else empty)(shape, **how))
    with pytest.raises(VectorError, match=r"v\.parquet records 3 rows of width 2, which do not fit into memory"):
        open_teacher(parquet_file)


def test_two_columns_of_one_name_raise(parquet_file):
    texts, vectors = pyarrow.array(TEXTS), pyarrow.array(list(VECTORS))
    for names, arrays in (
        (["text", "vector", "vector"], [texts, vectors, vectors]),
        (["text", "text", "vector"], [texts, texts, vectors]),
    ):
        parquet.write_table(pyarrow.Table.from_arrays(arrays, names), parquet_file)
        with pytest.raises(VectorError):
            open_teacher(parquet_file)


@pytest.mark.parametrize(
    "vectors",
    [
        numpy.arange(6).reshape(3, 2),
        numpy.array(["a", "b", "c"]),
        numpy.float32(1),
        numpy.ones((3, 2, 2), dtype="f4"),
        numpy.ones((0, 2), dtype="f4"),
        numpy.ones((3, 2), dtype="c8"),
    ],
)
def test_an_npy_file_without_vectors_raises(npy, vectors):
    numpy.save(npy, vectors)
    with pytest.raises(VectorError, match=r"expected floats of shape \(rows, width\)|an array of plain numbers"):
        open_teacher(npy)


def test_byte_order_and_memory_order_do_not_matter(npy):
    for vectors in (VECTORS.astype(">f4"), numpy.asfortranarray(VECTORS)):
        numpy.save(npy, vectors)
        assert open_teacher(npy).encode(TEXTS, "query").tolist() == VECTORS.tolist()


@pytest.mark.parametrize("texts", ['{"text": "one"}\n', '{"text": 1}\n' * 3, '{"no": "text"}\n' * 3, "[]\n" * 3, ""])
def test_texts_that_do_not_match_the_vectors_raise(npy, texts):
    npy.with_suffix(".jsonl").write_text(texts)
    with pytest.raises(InputError):
        open_teacher(npy)


@pytest.mark.parametrize(
    "columns",
    [
        {"text": [1, 2, 3], "vector": list(VECTORS)},
        {"text": ["one", None, "three"], "vector": list(VECTORS)},
        {"text": TEXTS, "vector": list(VECTORS), "role": ["query", "passage", None]},
        {"text": TEXTS, "vector": list(VECTORS), "role": [1, 2, 3]},
        {"text": TEXTS, "vector": [["a", "b"]] * 3},
        {"text": TEXTS, "vector": [[[1.0], [2.0]]] * 3},
        {"text": TEXTS, "vector": [[], [], []]},
        {"text": TEXTS, "vector": [None, None, None]},
        {"text": TEXTS, "vector": [1.0, 2.0, 3.0]},
        {"text": TEXTS},
        {"text": pyarrow.array([], pyarrow.string()), "vector": pyarrow.array([], pyarrow.list_(pyarrow.float32()))},
    ],
)
def test_columns_of_other_types_raise(parquet_file, columns):
    parquet.write_table(pyarrow.table(columns), parquet_file)
    with pytest.raises(VectorError):
        open_teacher(parquet_file)


@pytest.mark.parametrize("label", [b"", b"{", b"[]", b"null", b"{}", b'{"id": "x", "dim": "wide"}', b"[" * 90_000])
def test_an_invalid_label_raises(npy, parquet_file, label):
    table = parquet.read_table(parquet_file)
    parquet.write_table(table.replace_schema_metadata({b"leafkit.space": label}), parquet_file)
    npy.with_suffix(".space.json").write_bytes(label)
    for path in (npy, parquet_file):
        with pytest.raises(DamageError):
            open_teacher(path)


def test_a_changed_bit_in_a_store_raises_when_opened_or_verified(store, tmp_path):
    draw = random.Random(0)
    for name in ("keys.bin", "vectors.bin", "manifest.json"):
        file = store.path / name
        whole = file.read_bytes()
        for _ in range(100):
            changed = bytearray(whole)
            changed[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
            file.write_bytes(changed)
            try:
                VectorStore.open(tmp_path, SPACE).verify()
            except DamageError:
                continue
            # A change that is not detected must be in the manifest and must not change the rows that are read.
            assert name == "manifest.json"
            assert VectorStore.open(tmp_path, SPACE).rows(TEXTS, "query").tolist() == [0, 1, 2]
        file.write_bytes(whole)


@pytest.mark.parametrize("rows", [-1, 0, 4, 10**18, 10**30, "3", 3.5, None, [3]])
def test_a_manifest_with_a_wrong_row_count_raises(store, tmp_path, rows):
    manifest = json.loads((store.path / "manifest.json").read_text())
    manifest["blocks"][0]["rows"] = rows
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DamageError):
        VectorStore.open(tmp_path, SPACE).verify()
