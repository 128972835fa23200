"""The address of a table or collection: ``postgresql://user@host/database#table``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from leafkit.errors import OptionError
from leafkit.terminal import without_passwords

SCHEMES = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "qdrant": "qdrant",
    "qdrants": "qdrant",
    "lancedb": "lancedb",
    "milvus": "milvus",
    "milvuss": "milvus",
}
EXAMPLES = {
    "postgresql": "postgresql://user@host/database#table",
    "qdrant": "qdrant://host:6333#collection",
    "lancedb": "lancedb://folder#table",
    "milvus": "milvus://host:19530#collection",
}


@dataclass(frozen=True, slots=True)
class EngineUrl:
    """An address: the kind of ``engine``, where it is, and the ``name`` of the table or collection in it.

    engine: the name of the adapter, such as ``postgresql``.
    address: all before the ``#``, as the user wrote it. It may contain a password, and is not shown.
    """

    engine: str
    address: str = field(repr=False)
    name: str

    def __str__(self) -> str:
        return f"{without_passwords(self.address)}#{self.name}"

    def clean(self, text: str) -> str:
        """Return the message ``text`` in one line, without any password of the address, as it is or decoded."""
        place = self.address.partition("://")[2]
        login = place.rpartition("@")[0].partition(":")[2]
        given = [login, *re.findall(r"[?&;]\w*(?:password|token|api_?key)=([^&;]+)", place, flags=re.I)]
        for secret in filter(None, [*given, *map(unquote, given)]):
            text = text.replace(secret, "***")
        return " ".join(without_passwords(text).split())[:300].rstrip(". ")

    @property
    def place(self) -> str:
        """All after ``SCHEME://`` of the address, which may contain a password."""
        return self.address.partition("://")[2]

    @classmethod
    def parse(cls, text: str) -> EngineUrl:
        """Parse an address; raises `OptionError` if it has no known scheme, or no name after ``#``."""
        address, _, name = text.partition("#")
        engine = _engine_of(text)
        if engine is None:
            raise OptionError(
                f"{without_passwords(text)!r:.200} is no address of an engine. Write one such as "
                f"{' or '.join(EXAMPLES.values())}."
            )
        if _is_cut(address.partition("://")[2], name):
            raise OptionError(f"{without_passwords(text)!r:.200} has a # in its password. Write it as %23.")
        if not name or "\0" in text:
            raise OptionError(
                f"{without_passwords(text)!r:.200} names no table or collection. Write its name after #, as in "
                f"{EXAMPLES[engine]}."
            )
        return cls(engine, address, name)


def is_engine_url(text: object) -> bool:
    """Tell whether ``text`` is a string that starts like the address of an engine, such as ``postgresql://``."""
    return isinstance(text, str) and _engine_of(text) is not None


def _engine_of(text: str) -> str | None:
    scheme, mark, _ = text.partition("://")
    return SCHEMES.get(scheme.lower()) if mark else None


def _is_cut(place: str, name: str) -> bool:
    """Tell whether the # between ``place`` and ``name`` is part of a password: an @ follows, and no port is before."""
    if ":" not in place or "@" in place or "@" not in name:
        return False
    return "#" in name or re.fullmatch(r"[^/]*:\d*(/.*)?", place) is None
