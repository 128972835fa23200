"""NumPy arrays in files: written atomically, and read without trusting the header.

numpy parses the header as Python text and allocates what it says. Here the header must have the form that numpy writes,
the type must be plain, and the size of the file must be exactly what shape and type need.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy
from numpy.lib import format as npy
from numpy.typing import NDArray

from leafkit.files.atomic import atomic_file
from leafkit.files.regular import open_regular

_HEADER = re.compile(
    r"""\{\s*'descr':\s*'(?P<type>[<>|=]?(?:b1|[iu][1248]|f[248]|[SU][1-9]\d{0,5}))',"""
    r"""\s*'fortran_order':\s*(?P<fortran>True|False),"""
    r"""\s*'shape':\s*\((?P<shape>(?:\d{1,15},\s*)*(?:\d{1,15})?)\),?\s*\}\s*""",
)
_LONGEST_HEADER = 10_000  # numpy's own limit
_DIRECTORY_END = struct.Struct("<4s4H2LH")
_LARGEST_DIRECTORY = 1 << 16


def save_array(path: Path, array: numpy.ndarray) -> None:
    """Write ``array`` to the .npy file at ``path``, atomically replacing any file there.

    On a full disk ``numpy.save`` raises an error without an error number, and leafkit could not tell the user that the
    disk is full. So the bytes are written here.
    """
    array = numpy.asarray(array, order="C")
    with atomic_file(path, wait=True) as file:
        npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(array))
        file.write(array.data)


def read_array(path: Path, *, memory_map: bool = False, follow_links: bool = True) -> NDArray[Any]:
    """Return the array in the .npy file at ``path``, as a memory map or read into memory.

    Raises ValueError, or OSError if ``path`` is not a regular file (see `open_regular`). Call this within
    `leafkit.files.json_file.explain_invalid`, which turns the error into a message for the user.
    """
    with open_regular(path, follow_links=follow_links) as file:
        return array_in(file, memory_map=memory_map)


def array_in(file: BinaryIO, *, memory_map: bool = False) -> NDArray[Any]:
    """Return the array in the open .npy ``file``; see `read_array`. A memory map stays valid when the file is closed.

    Raises ValueError unless the file is exactly one array of numbers, booleans or strings of fixed length.
    """
    file.seek(0)
    dtype, shape, order = _header(file, os.fstat(file.fileno()).st_size)
    if memory_map and math.prod(shape):
        return numpy.memmap(file, dtype=dtype, mode="r", offset=file.tell(), shape=shape, order=order)
    return numpy.fromfile(file, dtype=dtype, count=math.prod(shape)).reshape(shape, order=order)


def arrays_in(file: BinaryIO, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Return the arrays ``names`` of the open .npz ``file``, which must hold these and no others.

    Only files of ``numpy.savez`` are accepted: they are not compressed, so no array is larger than the file. Raises
    ValueError for anything else.
    """
    expected = {f"{name}.npy": name for name in names}
    try:
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if sorted(member.filename for member in members) != sorted(expected):
                raise ValueError(f"the arrays are not {', '.join(expected.values())}")
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ValueError("the arrays are compressed")
            return {expected[member.filename]: _array_of(archive.read(member)) for member in members}
    except ValueError:
        raise
    except Exception as error:  # a damaged zip file raises many types without a common base
        raise ValueError(f"damaged .npz file: {error!r}") from error


def _array_of(content: bytes) -> NDArray[Any]:
    file = io.BytesIO(content)
    dtype, shape, order = _header(file, len(content))
    return numpy.frombuffer(content, dtype=dtype, offset=file.tell()).reshape(shape, order=order)


def _header(file: BinaryIO, size: int) -> tuple[numpy.dtype[Any], tuple[int, ...], Any]:
    """Read the header of a .npy ``file`` of ``size`` bytes: type, shape, and the order ``C`` or ``F``."""
    magic = file.read(8)
    width = {b"\1\0": 2, b"\2\0": 4, b"\3\0": 4}.get(magic[6:])
    if not magic.startswith(b"\x93NUMPY") or width is None:
        raise ValueError("the file does not start as a .npy file")
    length = int.from_bytes(file.read(width), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"the header has {length} bytes; expected at most {_LONGEST_HEADER}")
    match = _HEADER.fullmatch(file.read(length).decode("latin1"))
    if match is None:
        raise ValueError("the header does not describe an array of plain numbers or strings")
    dtype = numpy.dtype(match["type"])
    shape = tuple(int(number) for number in re.findall(r"\d+", match["shape"]))
    needed = file.tell() + math.prod(shape) * dtype.itemsize
    if needed != size:
        raise ValueError(f"{dtype} of shape {shape} needs {needed} bytes, but the file has {size}")
    return dtype, shape, "F" if match["fortran"] == "True" else "C"


def _check_directory(file: BinaryIO) -> None:
    """Raise ValueError unless the list of members at the end of the .zip ``file`` is short.

    Python's reader makes an object for every member listed, however many they are.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _DIRECTORY_END.size - 20))
    before, end = file.read(20), file.read()
    if len(end) != _DIRECTORY_END.size:
        raise ValueError("the file is too short for a .npz file")
    magic, *_, length, _, comment = _DIRECTORY_END.unpack(end)
    # The bytes PK 6 7 belong to the variant for files of more than 4 GB, which has the true length elsewhere.
    if magic != b"PK\5\6" or comment or length > _LARGEST_DIRECTORY or before.startswith(b"PK\6\7"):
        raise ValueError("the file does not end as a .npz file with few arrays")
