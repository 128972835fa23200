"""A student that is a table: one vector per token, averaged over the text."""

from __future__ import annotations

from typing import Any

import numpy

from leafkit.errors import OptionError
from leafkit.students.backbone import load_tokenizer
from leafkit.students.spec import FORMS, Static
from leafkit.types import Float32, Teacher


def static_modules(student: Static, teacher: Teacher, teacher_model: str | None, seed: int) -> list[Any]:
    """One StaticEmbedding whose rows start as the teacher's vector of each token, cut to ``student.dim`` by PCA.

    A teacher that cannot encode new texts gives no such start: the rows are then drawn from ``seed``.
    Either is where `leafkit.training.table` starts from, which solves for the rows of all tokens that texts have.
    """
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers.processors import TemplateProcessing

    place = student.tokenizer or teacher_model
    if place is None:
        raise OptionError(
            f"a static student needs a tokenizer, and this teacher has none. A student is one of:\n{FORMS}"
        )
    tokenizer = load_tokenizer(place)
    if student.dim > teacher.space.dim:
        raise OptionError(
            f"got dim={student.dim}, but the teacher's vectors have {teacher.space.dim}: ask for fewer, "
            f"as in static:dim={teacher.space.dim}"
        )
    words = token_texts(tokenizer)
    if "online" in teacher.signals:
        table = principal(_token_vectors(teacher, words), student.dim)
    else:
        table = numpy.random.default_rng(seed).standard_normal((len(words), student.dim), dtype=numpy.float32)
        table /= numpy.sqrt(student.dim)
    # A table never sees special tokens; said in tokenizer.json, every other runtime leaves them out as well.
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$0", pair="$A:0 $B:1", special_tokens=[])
    return [StaticEmbedding(tokenizer, embedding_weights=table)]


def token_texts(tokenizer: Any) -> list[str]:
    """What each token id stands for as text; empty for special tokens and ids without a token."""
    special = set(tokenizer.all_special_ids)
    texts = [""] * len(tokenizer)
    for token, position in tokenizer.get_vocab().items():
        if position < len(texts) and position not in special:
            plain = tokenizer.convert_tokens_to_string([token]).strip()
            texts[position] = plain.removeprefix("##")
    return texts


def principal(vectors: Float32, dim: int) -> Float32:
    """``vectors`` in their ``dim`` directions of largest variance, centred on the rows that are not zero.

    Rows of zeros stay zeros. Raises `OptionError` if there are fewer directions than ``dim``.
    """
    used = vectors.any(axis=1)
    most = min(vectors.shape[1], int(used.sum()))
    if dim > most:
        raise OptionError(f"got dim={dim}, but the teacher's token vectors have {most} directions: ask for fewer")
    centred = vectors[used].astype(numpy.float64)
    centred -= centred.mean(axis=0)
    values, directions = numpy.linalg.eigh(centred.T @ centred)
    top = directions[:, numpy.argsort(values)[::-1][:dim]]
    # eigh leaves each sign to the machine: the largest entry is made positive.
    top *= numpy.sign(top[numpy.abs(top).argmax(axis=0), numpy.arange(dim)])
    table = numpy.zeros((len(vectors), dim), dtype=numpy.float32)
    table[used] = centred @ top
    return table


def _token_vectors(teacher: Teacher, words: list[str]) -> Float32:
    known = [position for position, word in enumerate(words) if word]
    vectors = numpy.zeros((len(words), teacher.space.dim), dtype=numpy.float32)
    vectors[known] = teacher.encode([words[position] for position in known], "document")
    return vectors
