"""Texts that a writer wrote: what is recorded of each, how they are cleaned, and the file that keeps them."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from leafkit.errors import DamageError
from leafkit.files.atomic import write_file
from leafkit.files.digest import text_key
from leafkit.files.json_file import parse_json
from leafkit.texts.sentences import LONGEST, SHORTEST, split_sentences
from leafkit.texts.table import TextTable
from leafkit.types import Float32, Role, check_role
from leafkit.vectors.store import default_cache

# Separates the random numbers of this module from those of others.
STREAM = 71
# Texts of at most so many characters are left out.
TOO_SHORT = 2

logger = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class Written:
    """A text with its origin.

    ``seed`` is the row of the given text that it was written from, ``generator`` the name of what wrote it with a hash
    of its weights, ``licence`` that of the generator, and ``prompt`` a hash of the prompt. ``score`` is what the critic
    gave it, and ``round`` the number of times that the generator had learned from its own texts before.
    """

    text: str
    role: Role
    seed: int
    generator: str
    licence: str
    prompt: str
    score: float = 0.0
    round: int = 0


def prompt_id(prompt: str) -> str:
    """Return the hash of ``prompt`` that is recorded with its texts, 12 hexadecimal digits."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def cleaned(written: Iterable[Written], known: TextTable) -> list[Written]:
    """Return the texts of more than two characters that are new: neither in ``known`` nor written before.

    The first of several equal texts of a role is kept. White space and case do not make texts different.
    """
    seen = {(role, _plain(text)) for role, text in zip(known.roles, known.texts, strict=True)}
    kept = []
    for one in written:
        text = " ".join(one.text.split())
        if len(text) > TOO_SHORT and (one.role, _plain(text)) not in seen:
            seen.add((one.role, _plain(text)))
            kept.append(dataclasses.replace(one, text=text))
    return kept


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def with_written(given: TextTable, written: Sequence[Written], domain: str) -> TextTable:
    """Return the texts ``given`` followed by those ``written``, which get the domain ``domain``."""
    table = given.choose(range(len(given)))
    table.counts, table.repeated = given.counts, given.repeated
    for one in written:
        table.add(one.text, one.role, text_key(one.role, one.text), domain=domain)
    return table


def plain_sentences(given: TextTable, seed: int) -> list[Written]:
    """Return the sentences of the documents as queries, in random order: the plain rival of every generator."""
    found = []
    for row, (role, text) in enumerate(zip(given.roles, given.texts, strict=True)):
        if role == "document":
            found += [(row, one) for one in split_sentences(text) if SHORTEST <= len(one) <= LONGEST and one != text]
    origin: dict[str, Any] = {"generator": "sentences", "licence": "that of the given texts", "prompt": prompt_id("")}
    order = numpy.random.default_rng([seed, STREAM]).permutation(len(found)).tolist()
    return cleaned(
        (Written(text=found[place][1], role="query", seed=found[place][0], **origin) for place in order), given
    )


def distinct_pairs(texts: Sequence[str]) -> float:
    """Return the share of different ones among all pairs of neighbouring words (distinct-2); 1 without a pair."""
    pairs = [pair for text in texts for pair in itertools.pairwise(text.lower().split())]
    return len(set(pairs)) / len(pairs) if pairs else 1.0


def vectors_id(vectors: Float32) -> str:
    """Return a hash of teacher ``vectors``, 12 hexadecimal digits, which says which teacher a text was written with."""
    return hashlib.sha256(vectors.tobytes()).hexdigest()[:12]


def kept_on_disk(
    name: str, inputs: Sequence[object], write: Callable[[], list[Written]], *, announce: bool = True
) -> list[Written]:
    """Return what ``write`` returns, from a file in leafkit's cache if the same texts were written before.

    ``inputs`` decide the texts together with ``name``. The file, one JSON object with the fields of `Written` in each
    line, is the record of where each text comes from. With ``announce``, the log names it.
    """
    digest = hashlib.sha256(json.dumps([name, *map(str, inputs)]).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    file = default_cache() / "written" / f"{name}-{digest}.jsonl"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = write()
        write_file(file, "".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in rows))
    if announce:
        logger.info("%s: the record of each written text is in %s", name, file)
    return _read(file)


def _read(file: Path) -> list[Written]:
    try:
        rows = [parse_json(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [Written(**{**row, "role": check_role(row["role"])}) for row in rows]
    except (ValueError, TypeError, KeyError) as error:
        raise DamageError(
            f"{file} is not a record of written texts ({error}). Delete it to write them again."
        ) from error
