"""Blocks of an array: all rows once, and no memory for those of a file that were read."""

import mmap
import re
import sys
from pathlib import Path

import numpy
import pytest

from leafkit.search import faiss_fields
from leafkit.search.arrays import blocks_of, give_back
from leafkit.search.faiss_fields import Fields


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_blocks_are_the_rows_in_order(size):
    array, rows = numpy.arange(14).reshape(7, 2), numpy.array([6, 0, 3])
    assert numpy.array_equal(numpy.concatenate(list(blocks_of(array, size=size))), array)
    assert numpy.array_equal(numpy.concatenate(list(blocks_of(array, rows, size=size))), array[rows])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
def test_a_file_that_is_read_in_blocks_takes_no_memory(tmp_path):
    (tmp_path / "raw").write_bytes(bytes(1 << 26))
    mapped, before = numpy.memmap(tmp_path / "raw", dtype=numpy.uint8, mode="r"), mapped_files()
    assert sum(int(block.sum()) for block in blocks_of(mapped, size=1 << 22)) == 0
    assert mapped_files() - before < 1 << 24


def test_changes_of_a_copy_are_kept(tmp_path):
    (tmp_path / "raw").write_bytes(bytes(4096))
    copied = numpy.memmap(tmp_path / "raw", dtype=numpy.uint8, mode="c")
    copied[:] = 7
    for array in (copied, copied + 1, numpy.zeros(3)):
        give_back(array)
    assert set(copied.tolist()) == {7}


def mapped_files():
    """Return the bytes of files that are in the memory of this process."""
    return 1024 * int(re.search(r"RssFile:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
def test_an_index_file_that_is_checked_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(faiss_fields, "_PART", 1 << 22)
    (tmp_path / "raw").write_bytes(bytes(1 << 26))
    with open(tmp_path / "raw", "rb") as file:
        fields = Fields(memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)))
    before = mapped_files()
    assert sum(int(fields.array("u1", 1 << 20).sum()) for _ in range(64)) == 0
    assert mapped_files() - before < 1 << 24
