"""Arrays are read back unchanged, and a header that does not match its file is never believed."""

from __future__ import annotations

import contextlib
import random
import struct
import zipfile

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from leafkit.files.arrays import array_in, arrays_in, read_array, save_array

TYPES = ["?", "i1", "u1", "<i2", "<u4", "<i8", "<f2", "<f4", "<f8", ">f4", "S16", "<U5"]
ARRAY = numpy.arange(12, dtype=numpy.float32).reshape(3, 4)
HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }\n"


@given(st.sampled_from(TYPES).flatmap(lambda dtype: drawn.arrays(dtype, drawn.array_shapes(min_dims=0, min_side=0))))
def test_an_array_is_read_back_unchanged(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("array") / "a.npy"
    for written in (array, array.T):
        save_array(path, written)
        for memory_map in (False, True):
            numpy.testing.assert_array_equal(read_array(path, memory_map=memory_map), written, strict=True)


def test_a_memory_map_stays_valid_and_an_array_in_memory_can_be_changed(tmp_path):
    save_array(tmp_path / "a.npy", ARRAY)
    with open(tmp_path / "a.npy", "rb") as file:
        mapped, loaded = array_in(file, memory_map=True), array_in(file)
    (tmp_path / "a.npy").unlink()
    assert isinstance(mapped, numpy.memmap)
    loaded[0, 0] = 7
    assert mapped[0, 0] == 0


def npy(header, content=b"", version=b"\1\0"):
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(header))
    return b"\x93NUMPY" + version + length + header.encode("latin1") + content


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "does not start"),
        (b"PK\3\4 something else", "does not start"),
        (npy(HEADER, version=b"\4\0"), "does not start"),
        (npy(HEADER, bytes(47)), "needs 118 bytes, but the file has 117"),
        (npy(HEADER, bytes(49)), "needs 118 bytes, but the file has 119"),
        (npy(HEADER.replace("3, 4", "3000000000, 4"), bytes(48)), "needs 48000000079 bytes"),
        (npy(HEADER.replace("3, 4", "-3, -4"), bytes(48)), "does not describe"),
        (npy(HEADER.replace("3, 4", "9" * 5000), bytes(48)), "does not describe"),
        (npy(HEADER.replace("3, 4", "3.0"), bytes(48)), "does not describe"),
        (npy(HEADER.replace("<f4", "|O"), bytes(48)), "does not describe"),
        (npy(HEADER.replace("'<f4'", "[('a', '<f4')]"), bytes(48)), "does not describe"),
        (npy(HEADER.replace("<f4", "S0").replace("3, 4", "10")), "does not describe"),
        (npy("[" * 9000), "does not describe"),
        (npy("-" * 9000 + "1"), "does not describe"),
        (npy("{'descr': '''"), "does not describe"),
        (npy(" " * 20_000), "the header has 20000 bytes"),
        (npy(" " * 20_000, version=b"\2\0"), "the header has 20000 bytes"),
    ],
)
def test_a_header_that_does_not_match_its_file_raises(tmp_path, content, problem):
    (tmp_path / "a.npy").write_bytes(content)
    for memory_map in (False, True):
        with pytest.raises(ValueError, match=problem):
            read_array(tmp_path / "a.npy", memory_map=memory_map)


def test_truncations_and_changed_bytes_of_a_header_are_read_or_raise_a_value_error(tmp_path):
    path = tmp_path / "a.npy"
    save_array(path, ARRAY)
    whole = path.read_bytes()
    draw = random.Random(0)
    for position in range(128):
        path.write_bytes(whole[:position])
        with pytest.raises(ValueError):
            read_array(path)
        changed = bytearray(whole)
        changed[position] = draw.randrange(256)
        path.write_bytes(changed)
        with contextlib.suppress(ValueError):
            assert read_array(path).nbytes == ARRAY.nbytes


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "a.npz"
    numpy.savez(path, matrix=ARRAY.T, name=numpy.array("pca"), flag=numpy.array(True))
    return path


def opened(path, names=("matrix", "name", "flag")):
    with open(path, "rb") as file:
        return arrays_in(file, names)


def test_the_arrays_of_savez_are_read_back(npz):
    arrays = opened(npz)
    assert sorted(arrays) == ["flag", "matrix", "name"]
    assert (arrays["matrix"] == ARRAY.T).all()
    assert str(arrays["name"]) == "pca"
    assert bool(arrays["flag"]) is True


def test_other_names_raise(npz):
    for names in (("matrix", "name"), ("matrix", "name", "flag", "more"), ("matrix", "name", "flags")):
        with pytest.raises(ValueError, match="the arrays are not"):
            opened(npz, names)
    with zipfile.ZipFile(npz, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("flag.npy", b"")
    with pytest.raises(ValueError, match="the arrays are not"):
        opened(npz)


def test_a_bomb_is_not_unpacked(tmp_path):
    numpy.savez_compressed(tmp_path / "bomb.npz", matrix=numpy.zeros((1000, 1000)))
    with pytest.raises(ValueError, match="compressed"):
        opened(tmp_path / "bomb.npz", ["matrix"])
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as archive:
        for number in range(2000):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(ValueError, match="few arrays"):
        opened(tmp_path / "many.npz", ["matrix"])


def test_a_pickle_in_an_npz_is_not_loaded(tmp_path):
    numpy.savez(tmp_path / "a.npz", matrix=numpy.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="does not describe"):
        opened(tmp_path / "a.npz", ["matrix"])


def test_damage_of_an_npz_is_read_or_raises_a_value_error(npz):
    whole = npz.read_bytes()
    draw = random.Random(0)
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(draw.randrange(1, 4)):
            changed[draw.randrange(len(whole))] = draw.randrange(256)
        npz.write_bytes(changed if draw.random() < 0.8 else changed[: draw.randrange(len(whole))])
        with contextlib.suppress(ValueError):
            opened(npz)
