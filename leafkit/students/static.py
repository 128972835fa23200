"""Build the body of a static student: one vector per token, averaged over the text."""

from __future__ import annotations

import logging
from typing import Any

import numpy

from leafkit.errors import OptionError
from leafkit.students.source import load_tokenizer
from leafkit.students.spec import FORMS, Static
from leafkit.students.student import Body
from leafkit.types import Float32, Teacher
from leafkit.vectors.cached import CachedEncoder

log = logging.getLogger("leafkit")


def static_body(student: Static, teacher: Teacher, teacher_model: str | None, seed: int) -> Body:
    """Build a token table whose rows start as the teacher's vector of each token, reduced to ``student.dim`` by PCA.

    If the teacher cannot encode new texts, the rows are drawn from ``seed`` instead. In both cases
    `leafkit.training.table` later solves for the rows of all tokens that the training texts contain.
    """
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers.processors import TemplateProcessing

    place = student.tokenizer or teacher_model
    if place is None:
        raise OptionError(
            "a static student needs a tokenizer, and this teacher has none. Add tokenizer=PATH. "
            f"A student is one of:\n{FORMS}"
        )
    tokenizer = load_tokenizer(place)
    if student.dim > teacher.space.dim:
        raise OptionError(
            f"dim is {student.dim}; expected 1 to {teacher.space.dim}, the width of the teacher's vectors, "
            f"as in static:dim={teacher.space.dim}."
        )
    words = token_texts(tokenizer)
    if "online" in teacher.signals:
        table = reduce_to_principal(_token_vectors(teacher, words), student.dim)
    else:
        table = numpy.random.default_rng(seed).standard_normal((len(words), student.dim), dtype=numpy.float32)
        table /= numpy.sqrt(student.dim)
    # A token table never sees special tokens. Saying so in tokenizer.json makes every other runtime omit them as well.
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$0", pair="$A:0 $B:1", special_tokens=[])
    return Body((StaticEmbedding(tokenizer, embedding_weights=table),))


def token_texts(tokenizer: Any) -> list[str]:
    """Return the text of each token id; empty for special tokens and for ids without a token."""
    special = set(tokenizer.all_special_ids)
    texts = [""] * len(tokenizer)
    for token, position in tokenizer.get_vocab().items():
        if position < len(texts) and position not in special:
            plain = tokenizer.convert_tokens_to_string([token]).strip()
            texts[position] = plain.removeprefix("##")
    return texts


def reduce_to_principal(vectors: Float32, dim: int) -> Float32:
    """Project ``vectors`` (rows, width) on their ``dim`` directions of largest variance; returns (rows, dim).

    The mean of all rows that are not zero is subtracted first. Rows of zeros stay zeros. Raises `OptionError` if
    there are fewer directions than ``dim``.
    """
    used = vectors.any(axis=1)
    most = min(vectors.shape[1], int(used.sum()))
    if dim > most:
        raise OptionError(
            f"dim is {dim}; expected 1 to {most}, the number of directions that the teacher's token vectors have."
        )
    centred = vectors[used].astype(numpy.float64)
    centred -= centred.mean(axis=0)
    values, directions = numpy.linalg.eigh(centred.T @ centred)
    top = directions[:, numpy.argsort(values)[::-1][:dim]]
    # The sign of an eigenvector depends on the machine, so the largest entry is made positive.
    top *= numpy.sign(top[numpy.abs(top).argmax(axis=0), numpy.arange(dim)])
    table = numpy.zeros((len(vectors), dim), dtype=numpy.float32)
    table[used] = centred @ top
    return table


def _token_vectors(teacher: Teacher, words: list[str]) -> Float32:
    known = [position for position, word in enumerate(words) if word]
    vectors = numpy.zeros((len(words), teacher.space.dim), dtype=numpy.float32)
    tokens = [words[position] for position in known]
    log.info("token table: the teacher encodes the %d tokens of the vocabulary, where the table starts", len(known))
    if isinstance(teacher, CachedEncoder):
        vectors[known] = teacher.encode(tokens, "document", label="vocabulary")
    else:
        vectors[known] = teacher.encode(tokens, "document")
    return vectors
