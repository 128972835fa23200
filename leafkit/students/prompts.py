"""Choose what a student reads before each query and each document in place of the teacher's prompts.

A prompt says one thing, the role of the text, and a transformer pays for each of its tokens with every text:
bge-small's query prompt has ten tokens, a typical query six. A student that learns the teacher's vectors of prompted
texts can read the role from a single token.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from leafkit.errors import OptionError
from leafkit.prompts import Prompts, prompts_of
from leafkit.space import Space
from leafkit.types import ROLES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

StudentPrompt = Literal["same", "token", "none"]

# Tokens that vocabularies keep free: of BERT, Gemma, T5, Llama 3 and RoBERTa.
UNUSED = re.compile(r"\[unused\d+\]|<unused\d+>|<extra_id_\d+>|<\|reserved_special_token_\d+\|>|madeupword\d+")
MASKS = ("[MASK]", "<mask>")
# A token can be a prompt if each of these texts keeps its own tokens behind it.
PROBES = ("how do I list files?", "Überall 3.14 e-mail", "#x unbelievably", "数据 café")


def choose_prompts(kind: StudentPrompt, space: Space, tokenizer: Any) -> Prompts:
    """Return the prompts of a student of ``space``: the teacher's, one token for each of them, or none.

    tokenizer: the student's, of transformers or of tokenizers. The tokens that are chosen are registered in it in
        place, so that every runtime reads them as one token. Texts without them are read as before.

    The choice depends on the vocabulary alone: the first token that it keeps free, such as ``[unused0]``; else its mask
    token, which no text contains; else the word with the highest id, which is a rare one. The roles get different
    tokens, and a role without a prompt of the teacher gets none. Raises `OptionError` if there is no such token.
    """
    teachers = prompts_of(space)
    if kind == "same":
        return teachers
    prompts = dict.fromkeys(teachers, "")
    if kind == "token" and any(teachers.values()):
        tokens = one_token_prompts(tokenizer)
        for role in ROLES:
            if teachers[role]:
                prompts[role] = next(tokens, "")
                if not prompts[role]:
                    raise OptionError(
                        f"the tokenizer of the student has no token that can replace the {role} prompt: none leaves "
                        "the tokens of the text after it as they are. Set student_prompt to same or none."
                    )
    return prompts


def one_token_prompts(tokenizer: Any) -> Iterator[str]:
    """Yield prompts that ``tokenizer`` reads as one token, the best first; special tokens are registered in it."""
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not isinstance(backend, Tokenizer):
        return
    vocabulary = backend.get_vocab()
    unused = sorted(filter(UNUSED.fullmatch, vocabulary), key=vocabulary.__getitem__)
    for token in (*unused, *(mask for mask in MASKS if mask in vocabulary)):
        _register(backend, token)
        # Some tokenizers mark a word by the space before it, which they add at the start of a text only.
        forms = (prompt for prompt in (token, f"{token} ") if _is_read_alone(backend, prompt, vocabulary[token]))
        yield from itertools.islice(forms, 1)
    for number in sorted(vocabulary.values(), reverse=True):
        word = backend.decode([number]).strip()
        if word and _ids(backend, word) == [number] and _is_read_alone(backend, f"{word} ", number):
            yield f"{word} "


def _register(backend: Tokenizer, token: str) -> None:
    """Have ``backend`` read ``token`` of its vocabulary as one token wherever it occurs in a text."""
    from tokenizers import AddedToken

    if token not in {added.content for added in backend.get_added_tokens_decoder().values()}:
        backend.add_special_tokens([AddedToken(token, normalized=False)])


def _is_read_alone(backend: Tokenizer, prompt: str, number: int) -> bool:
    """Tell whether ``prompt`` is the one token ``number`` before any text, and the text keeps its own tokens."""
    return all(_ids(backend, prompt + text) == [number, *_ids(backend, text)] for text in PROBES)


def _ids(backend: Tokenizer, text: str) -> list[int]:
    """Return the token ids of ``text`` alone, without special tokens and padding."""
    encoding = backend.encode(text, add_special_tokens=False)
    return [number for number, kept in zip(encoding.ids, encoding.attention_mask, strict=True) if kept]
