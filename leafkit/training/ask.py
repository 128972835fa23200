"""Asking the teacher about any text: answers come from the vector cache, and distinct texts are counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from leafkit.files.digest import text_key
from leafkit.files.disk_errors import explain_disk_errors
from leafkit.types import Float32, Role, Teacher
from leafkit.vectors.cached import CachedEncoder
from leafkit.vectors.keys import KEY_BYTES
from leafkit.vectors.mapping import LinearMap
from leafkit.vectors.store import VectorStore


class TeacherAsk:
    """Answers with the vectors of ``teacher``; see `leafkit.methods.ask.Ask`.

    Every call commits the new vectors to the cache, so ask about many texts at once.
    """

    def __init__(
        self,
        teacher: Teacher,
        store: VectorStore,
        asked: set[bytes],
        *,
        mapping: LinearMap | None = None,
        log: Path | None = None,
    ) -> None:
        """Answer from ``store``, in the space that ``mapping`` leads to if it is given.

        ``asked`` are the keys of the texts that were asked before; later ones are added to it. The file ``log`` keeps
        them for a run that is stopped and resumed.
        """
        self._teacher, self._store, self._asked, self._mapping, self._log = teacher, store, asked, mapping, log
        if log is not None and log.is_file():
            logged = log.read_bytes()
            # A killed run may have written a part of the last key.
            whole = range(0, len(logged) // KEY_BYTES * KEY_BYTES, KEY_BYTES)
            asked.update(logged[start : start + KEY_BYTES] for start in whole)

    @property
    def calls(self) -> int:
        """The number of distinct texts, per role, that were asked so far in this run, cached or not."""
        return len(self._asked)

    def encode(self, texts: Sequence[str], roles: Sequence[Role]) -> Float32:
        """Return the teacher's vectors of ``texts``, (texts, dim); ``roles`` are theirs, in the same order."""
        vectors = self._store.gather(self._store.fill(self._teacher, texts, roles))
        new = set(map(text_key, roles, texts)) - self._asked
        if new and self._log is not None:
            with explain_disk_errors(self._log), open(self._log, "ab") as file:
                file.truncate(file.tell() // KEY_BYTES * KEY_BYTES)
                file.write(b"".join(sorted(new)))
        self._asked |= new
        return vectors if self._mapping is None else self._mapping.apply(vectors, "document")

    def vocabulary(self) -> Sequence[str]:
        """Return the tokens of the teacher's tokenizer in the order of their ids; raise `TypeError` without a model."""
        teacher: Any = self._teacher.teacher if isinstance(self._teacher, CachedEncoder) else self._teacher
        model = getattr(teacher, "model", None)
        if model is None:
            raise TypeError("this teacher has no tokenizer; the method that asks for its vocabulary must need 'model'")
        places = model.tokenizer.get_vocab()
        return sorted(places, key=places.__getitem__)


def count_asked(asked: set[bytes], keys: Iterable[bytes], used: int) -> int:
    """Return the number of distinct texts that the teacher answered for.

    ``asked`` are the keys of the texts that methods asked for. ``keys`` are those of the training texts, of which
    ``used`` had their vectors read for training, the asked ones among them first.
    """
    return len(asked) + max(0, used - len(asked.intersection(keys)))
