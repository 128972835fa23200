"""Vectors in the JSON answers of servers: text-embeddings-inference's and OpenAI's shape, checked before use."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy

from leafkit.errors import InputError, VectorError
from leafkit.files.json_file import parse_json
from leafkit.types import Float32
from leafkit.vectors.check import check_vectors


def read_answer(body: bytes, *, source: str) -> Any:
    """Return the JSON value in ``body``; raises `InputError` naming ``source`` for anything else."""
    try:
        return parse_json(body)
    except ValueError as error:
        raise InputError(f"{source} answers with something else than JSON ({excerpt(body)!r}).") from error


def tei_vectors(content: Any, *, rows: int, dim: int, source: str) -> Float32:
    """Return the vectors, (rows, dim), of an answer of text-embeddings-inference: a list of lists of numbers.

    Raises `InputError` naming ``source`` for another shape, and `VectorError` for NaN, zeros or another width.
    """
    if not isinstance(content, list):
        raise InputError(f"{source} answers with {type(content).__name__}; expected a list of vectors.")
    return _vectors(content, rows=rows, dim=dim, source=source)


def openai_vectors(content: Any, *, rows: int, dim: int, source: str) -> Float32:
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
    embeddings = [found[index] for index in range(rows)]
    decoded = [_decode(one, source) if isinstance(one, str) else one for one in embeddings]
    return _vectors(decoded, rows=rows, dim=dim, source=source)


def excerpt(body: bytes) -> str:
    """Return the beginning of ``body`` as printable text."""
    text = body[:200].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _decode(text: str, source: str) -> list[float]:
    try:
        return numpy.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").tolist()
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{source} answers with an embedding that is not base64 of float32 ({error}).") from error


def _vectors(vectors: list[Any], *, rows: int, dim: int, source: str) -> Float32:
    if len(vectors) != rows:
        raise InputError(f"{source} answers with {len(vectors)} vectors for {rows} texts.")
    for vector in vectors:
        if not isinstance(vector, list) or any(type(number) not in (int, float) for number in vector):
            raise InputError(f"{source} answers with something else than numbers in a vector.")
        if len(vector) != dim:
            raise VectorError(f"{source} answers with vectors of the width {len(vector)}; expected {dim}.")
    try:
        return check_vectors(vectors, rows=rows, dim=dim, source=source)
    except OverflowError as error:  # a whole number beyond the range of a float
        raise InputError(f"{source} answers with a number that is too large ({error}).") from error
