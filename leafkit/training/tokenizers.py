"""Compare tokenizers: two models that share token ids in a step must read every text alike."""

from __future__ import annotations

from typing import Any

# Two tokenizers with one vocabulary count as the same if they split these texts alike.
PROBES = (
    "The student's 2 texts: a naïve café, COUNT_ALL(x) <= 10 % of e-mail addresses.",
    "unbelievably\ttokenised   words\n東京 Αθήνα Привет",
)


def tokenizer_difference(one: Any, other: Any, *, names: tuple[str, str]) -> str | None:
    """Say how two transformers tokenizers differ, for an error; None if they give every text the same ids.

    ``names`` are what the message calls the owners of the two.
    """
    ids, others = one.get_vocab(), other.get_vocab()
    for token in sorted(ids.keys() | others.keys()):
        if ids.get(token) != others.get(token):
            return f"{names[0]} has the id {ids.get(token)} for the token {token!r}, and {names[1]} {others.get(token)}"
    for text in PROBES:
        ids, others = (tokenizer(text)["input_ids"] for tokenizer in (one, other))
        if ids != others:
            return f"{names[0]} reads {text!r} as the ids {ids}, and {names[1]} as {others}"
    return None


def special_tokens(tokenizer: Any) -> set[int]:
    """Return the ids of the tokens around a text and of padding; the token of an unknown word is a word."""
    names = ("cls_token_id", "sep_token_id", "pad_token_id", "bos_token_id", "eos_token_id")
    return {number for name in names if (number := getattr(tokenizer, name, None)) is not None}
