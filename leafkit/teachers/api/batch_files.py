"""Batch files of the OpenAI protocol: requests that the user hands to the provider, and the answers that come back.

A line is a request for one text, and its ``custom_id`` is the key of the text in the store of vectors, with a hash of
the model, the width and the prompts. So answers may come in any order, some of them twice or not at all, and those of
another model are recognised.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy

from leafkit.errors import ApiError, InputError, OptionError, OutputError
from leafkit.files.atomic import atomic_file
from leafkit.files.digest import text_key
from leafkit.files.json_file import parse_json_object
from leafkit.files.regular import open_regular
from leafkit.space import Space
from leafkit.teachers.api.answers import excerpt, openai_vectors, value_at
from leafkit.teachers.api.teacher import ApiTeacher
from leafkit.teachers.api.unsent import Sources, Unsent, open_api, refuse_shards
from leafkit.types import Float32, Int64, Role
from leafkit.vectors.cosine import unit_rows
from leafkit.vectors.keys import expand_roles

log = logging.getLogger("leafkit")

# OpenAI takes 50,000 texts and 200 MB a file.
MOST_LINES, MOST_BYTES = 50_000, 190 << 20
LONGEST_LINE = 8 << 20  # of an answer: 65,536 numbers as decimals
PART = 256  # answers read at a time
_BEGIN = b'{"custom_id": "'
_HASH_BYTES = 8  # of what was asked for, in a custom_id


def write_batch_files(texts: Sources, encoder: str | Path, out: str | PathLike[str], **options: Any) -> list[Path]:
    """Write the requests for all ``texts`` without a cached vector to ``out``; return the files.

    A second file is called NAME-2.jsonl, and so on, as a provider limits the texts of a file. ``options`` are those of
    `leafkit.embed`. Raises `OptionError` for an API without such files and for a shard, `OutputError` if ``out``
    exists and ``overwrite`` is not set, and `InputError` for a text over the model's limit.
    """
    refuse_shards(options)
    teacher = _open(encoder, options)
    files: list[Path] = []
    with ExitStack() as stack:
        file: BinaryIO | None = None
        lines = size = 0
        for chunk in Unsent(texts, teacher, options):
            prompted, counts = teacher.count(chunk.texts, chunk.roles)
            teacher.check_lengths(chunk.texts, counts)
            for text, role, key in zip(prompted, chunk.roles, chunk.keys, strict=True):
                line = _request(teacher, text, role, key)
                if file is None or lines == MOST_LINES or size + len(line) > MOST_BYTES:
                    files.append(_numbered(Path(out), len(files) + 1, overwrite=bool(options.get("overwrite"))))
                    file, lines, size = stack.enter_context(atomic_file(files[-1])), 0, 0
                file.write(line)
                lines, size = lines + 1, size + len(line)
    return files


@dataclass(kw_only=True)
class Collected:
    """What answer files gave: ``stored`` vectors, ``tokens`` that the provider counted, and what is still missing.

    failed: answers with an error, the first of which is ``problem``; ``missing`` texts have no vector.
    """

    stored: int = 0
    tokens: int = 0
    failed: int = 0
    problem: str = ""
    missing: int = 0

    def __str__(self) -> str:
        return f"stored {self.stored:,} vectors, {self.tokens:,} tokens counted by the API"

    def check(self) -> None:
        """Raise `ApiError` if texts are left without a vector."""
        if self.missing:
            why = f" ({self.failed:,} answers are errors, the first: {self.problem})" if self.failed else ""
            raise ApiError(
                f"{self}; {self.missing:,} texts have no vector yet{why}. Write a file of them with --batch-file, or "
                "leave --collect out to send them now."
            )


def collect_answers(
    texts: Sources, encoder: str | Path, files: Sequence[str | PathLike[str]], **options: Any
) -> Collected:
    """Store the vectors of ``texts`` that the answer ``files`` hold; ``options`` are those of `leafkit.embed`.

    Answers to other texts are ignored. Raises `InputError` for a file that holds something else or answers of another
    model, width or prompt, and `ApiError` for vectors that cannot be used; what was stored before stays.
    """
    teacher = _open(encoder, options)
    with ExitStack() as stack:
        answers = BatchAnswers(space=teacher.space, asked=_asked(teacher))
        for file in map(Path, files):
            answers.add(file, stack)
        unsent = Unsent(texts, teacher, options)
        for chunk in unsent:
            rows = [row for row, key in enumerate(chunk.keys) if key in answers.places]
            if rows and unsent.store is not None:
                some: list[Role] = [chunk.roles[row] for row in rows]
                unsent.store.fill(answers, [chunk.texts[row] for row in rows], some, label="answers")
            answers.found.stored += len(rows)
            answers.found.missing += len(chunk.keys) - len(rows)
    return answers.found


@dataclass(kw_only=True)
class BatchAnswers:
    """The vectors in answer files as a teacher of exactly the texts in ``places``: file and position of each answer.

    asked: the hash that every request of the same model, width and prompts carries.
    """

    space: Space
    asked: bytes
    places: dict[bytes, tuple[BinaryIO, Path, int]] = field(default_factory=dict)
    found: Collected = field(default_factory=Collected)

    def add(self, path: Path, stack: ExitStack) -> None:
        """Note where each answer of ``path`` is, which stays open as long as ``stack``."""
        try:
            file = stack.enter_context(open_regular(path))
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror or error}). Give the answers' file.") from error
        number, at = 0, 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            key, problem = _parse_line(line, f"{path}:{number}", self.asked)
            if problem:
                self.found.failed += 1
                self.found.problem = self.found.problem or problem
            elif key:
                self.places[key] = (file, path, at)
            at += len(line)

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the vectors of ``texts``, (rows, dim), all of which must have an answer."""
        vectors = numpy.empty((len(texts), self.space.dim), dtype=numpy.float32)
        for rows, found in self.encode_each(texts, expand_roles(role, len(texts))):
            vectors[rows] = found
        return vectors

    def encode_each(self, texts: Sequence[str], roles: Sequence[Role]) -> Generator[tuple[Int64, Float32]]:
        """Yield positions in ``texts`` and their vectors, (rows, dim), some at a time."""
        for start in range(0, len(texts), PART):
            rows = range(start, min(start + PART, len(texts)))
            vectors = numpy.concatenate([self._vector(text_key(roles[row], texts[row])) for row in rows])
            yield numpy.array(rows), unit_rows(vectors) if self.space.normalised else vectors

    def _vector(self, key: bytes) -> Float32:
        file, path, at = self.places[key]
        file.seek(at)
        body = value_at(parse_json_object(file.readline(LONGEST_LINE + 1)), ("response", "body"))
        try:
            vector = openai_vectors(body, rows=1, dim=self.space.dim, source=str(path))
        except InputError as error:
            raise ApiError(f"{error} Other answers are kept.") from error
        usage = value_at(body, ("usage", "prompt_tokens"))
        self.found.tokens += usage if type(usage) is int and usage > 0 else 0
        return vector


def _open(encoder: str | Path, options: dict[str, Any]) -> ApiTeacher:
    teacher = open_api(encoder, options)
    dialect = teacher.endpoint.dialect
    if dialect.name != "openai":
        raise OptionError(f"batch files are those of the OpenAI protocol, which {dialect.name} does not take.")
    return teacher


def _asked(teacher: ApiTeacher) -> bytes:
    """Return a hash of what decides the vector of a text: the model, the width and the prompts."""
    parts = [teacher.endpoint.identity, teacher.options.dimensions, *teacher.options.prompts({}).values()]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=_HASH_BYTES).digest()


def _request(teacher: ApiTeacher, text: str, role: Role, key: bytes) -> bytes:
    body = teacher.endpoint.request([text], role, dimensions=teacher.options.dimensions)
    custom_id = (key + _asked(teacher)).hex()
    line = {"custom_id": custom_id, "method": "POST", "url": teacher.endpoint.address.base, "body": body}
    return json.dumps(line).encode() + b"\n"


def _parse_line(line: bytes, where: str, asked: bytes) -> tuple[bytes | None, str]:
    """Return the key of the text that an answer is about, or why there is no vector in it.

    Raises `InputError` for another line, and for an answer to a request with another hash than ``asked``.
    """
    if not line.strip():
        return None, ""
    try:
        if len(line) > LONGEST_LINE:
            raise ValueError(f"the line is longer than {LONGEST_LINE} bytes")
        answer = parse_json_object(line)
        identity = bytes.fromhex(answer["custom_id"])
        status = value_at(answer, ("response", "status_code"))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{where} is not an answer to a request of leafkit ({error}). Give the file of answers that the provider "
            "returns, with custom_id and response in each line."
        ) from error
    key, found = identity[:-_HASH_BYTES], identity[-_HASH_BYTES:]
    if found != asked:
        raise InputError(
            f"{where} answers a request for another model, width or prompt. Give --collect the same encoder and "
            "options as --batch-file."
        )
    if status != 200 or answer.get("error"):
        said = excerpt(json.dumps(answer.get("error") or value_at(answer, ("response", "body"))).encode())
        return key, f"{where}: status {status}, {said}"
    return key, ""


def _numbered(path: Path, number: int, *, overwrite: bool) -> Path:
    """Return the path of the file with this ``number``; raise `OutputError` if it may not be written."""
    place = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
    if place.exists():
        with open(place, "rb") as file:
            own = file.read(len(_BEGIN)) == _BEGIN
        if not (own and overwrite):
            advice = " or add --overwrite to replace it" if own else ""
            raise OutputError(f"{place} already exists. Choose another path{advice}.")
    return place
