"""Vectors in the JSON answers of embedding servers, checked before use."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import numpy

from leafkit.errors import InputError, VectorError
from leafkit.files.json_file import parse_json
from leafkit.space import WIDEST
from leafkit.types import Float32
from leafkit.vectors.check import check_vectors


def read_answer(body: bytes, *, source: str) -> Any:
    """Return the JSON value in ``body``; raises `InputError` naming ``source`` for anything else."""
    try:
        return parse_json(body)
    except ValueError as error:
        raise InputError(f"{source} answers with something else than JSON ({excerpt(body)!r}).") from error


def value_at(content: Any, path: Sequence[str]) -> Any:
    """Return what ``content``, a JSON value, holds below the fields ``path``; None if there is nothing."""
    for name in path:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def tei_vectors(content: Any, *, rows: int, dim: int | None, source: str) -> Float32:
    """Return the vectors, (rows, dim), of an answer of text-embeddings-inference: a list of lists of numbers.

    Raises `InputError` naming ``source`` for another shape, and `VectorError` for NaN, zeros or another width.
    """
    if not isinstance(content, list):
        raise InputError(f"{source} answers with {type(content).__name__}; expected a list of vectors.")
    return listed_vectors(content, rows=rows, dim=dim, source=source)


def openai_vectors(content: Any, *, rows: int, dim: int | None, source: str) -> Float32:
    """Return the vectors, (rows, dim), of an OpenAI-compatible answer in the order of their ``index``.

    Each ``embedding`` is a list of numbers, or base64 of little-endian float32. Raises `InputError` naming ``source``
    for another shape, and `VectorError` for NaN, zeros or another width.
    """
    try:
        found = {item["index"]: item["embedding"] for item in content["data"]}
        indices = [item["index"] for item in content["data"]]
    except (TypeError, KeyError) as error:
        raise InputError(
            f"{source} answers in another shape ({error!r}); expected data with index and embedding."
        ) from error
    if any(type(index) is not int for index in indices) or sorted(indices) != list(range(rows)):
        raise InputError(f"{source} answers for the texts {indices[:20]}; expected each of 0 to {rows - 1} once.")
    return listed_vectors([found[index] for index in range(rows)], rows=rows, dim=dim, source=source)


def listed_vectors(vectors: list[Any], *, rows: int, dim: int | None, source: str) -> Float32:
    """Return ``vectors``, each a list of numbers or base64 of float32, as an array (rows, dim).

    dim: the expected width; None takes that of the first vector. Raises as `openai_vectors`.
    """
    if len(vectors) != rows:
        raise InputError(f"{source} answers with {len(vectors)} vectors for {rows} texts.")
    arrays = [_array(vector, source) for vector in vectors]
    width = dim or len(arrays[0])
    for array in arrays:
        if len(array) != width:
            raise VectorError(f"{source} answers with vectors of the width {len(array)}; expected {width}.")
    if not 1 <= width <= WIDEST:
        raise VectorError(f"{source} answers with vectors of the width {width}; expected 1 to {WIDEST}.")
    return check_vectors(numpy.stack(arrays), rows=rows, dim=width, source=source)


def excerpt(body: bytes) -> str:
    """Return the beginning of ``body`` as printable text."""
    text = body[:200].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _array(vector: Any, source: str) -> Float32:
    if isinstance(vector, str):
        try:
            return numpy.frombuffer(base64.b64decode(vector, validate=True), dtype="<f4").astype(numpy.float32)
        except (binascii.Error, ValueError) as error:
            raise InputError(f"{source} answers with an embedding that is not base64 of float32 ({error}).") from error
    if not isinstance(vector, list) or not {*map(type, vector)} <= {int, float}:
        raise InputError(f"{source} answers with something else than numbers in a vector.")
    try:
        with numpy.errstate(over="ignore"):  # what is infinite is refused later
            return numpy.array(vector, dtype=numpy.float64).astype(numpy.float32)
    except OverflowError as error:  # a whole number beyond the range of a float
        raise InputError(f"{source} answers with a number that is too large ({error}).") from error
