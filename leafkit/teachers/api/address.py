"""The name of a teacher behind an API: ``api:openai/text-embedding-3-small`` or ``api:http://host/v1#model``."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from leafkit.errors import OptionError, nearest
from leafkit.teachers.api.dialects import DIALECTS, URL_KEY, Dialect, Model
from leafkit.teachers.api.http import Address
from leafkit.types import Role

PREFIX = "api:"
FORMS = """A teacher behind an API is one of
  api:openai/MODEL, api:cohere/MODEL, api:voyage/MODEL, api:gemini/MODEL
  api:http://HOST:PORT/v1#MODEL, a server with the OpenAI protocol (also https)
  api:http://HOST:PORT/embed#MODEL (text-embeddings-inference), api:http://HOST:PORT/api/embed#MODEL (Ollama)
  api:cohere+https://HOST/v2#MODEL, another address of a dialect"""
# Visible ASCII, as a header may hold it.
_KEY = re.compile(r"[!-~]{1,4096}")
_MODEL = re.compile(r"[\w.:@/-]{1,200}")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A model of a server: which ``dialect`` the server at ``address`` speaks, and what is known about the model."""

    name: str
    dialect: Dialect
    address: Address
    model: str
    facts: Model
    key_variable: str

    @classmethod
    def parse(cls, teacher: str) -> Endpoint:
        """Read ``teacher``, which begins with ``api:``; raises `OptionError` for a name that leads nowhere."""
        name = teacher.removeprefix(PREFIX)
        return _at_address(name) if "://" in name else _at_provider(name)

    @property
    def roles(self) -> bool:
        """Whether a field of the request tells the role; otherwise prompts are put before the texts."""
        return bool(self.dialect.role) and self.facts.roles

    @property
    def identity(self) -> str:
        """What decides the vectors besides width and prompts: address, model, and how roles are told."""
        roles = "".join(f" {role}={value}" for role, value in sorted(self.dialect.roles.items()) if self.roles)
        return f"{PREFIX}{self.address}#{self.model}{roles}"

    def request(
        self, texts: Sequence[str], role: Role, *, dimensions: int | None, truncate: bool = False
    ) -> dict[str, Any]:
        """Return the body that asks for the vectors of ``texts``, which have their prompts already."""
        told = role if self.roles else None
        return self.dialect.request(self.model, texts, told, dimensions=dimensions, truncate=truncate)

    def key(self) -> str:
        """Return the key from the environment, empty if a server of the user's own needs none.

        Raises `OptionError` without a provider's key, and for a key that no header can carry. No message shows a key.
        """
        key = os.environ.get(self.key_variable, "").strip()
        if not key and self.key_variable != URL_KEY:
            raise OptionError(
                f"{PREFIX}{self.name} needs a key: the environment variable {self.key_variable} is not set. "
                f"Set it, for example with: export {self.key_variable}=..."
            )
        if key and not _KEY.fullmatch(key):
            raise OptionError(f"{self.key_variable} holds white space or characters that no key has. Copy it again.")
        return key


def _at_provider(name: str) -> Endpoint:
    provider, _, model = name.partition("/")
    sold = [dialect.name for dialect in DIALECTS.values() if dialect.url]
    if provider not in sold:
        raise OptionError(f"{PREFIX}{name} names no known API; {nearest(provider, sold)}. {FORMS}")
    _check_model(model, name)
    dialect = DIALECTS[provider]
    return Endpoint(
        name=name,
        dialect=dialect,
        address=Address.parse(dialect.url).at(dialect.route.format(model=model)),
        model=model,
        facts=dialect.models.get(model, Model()),
        key_variable=dialect.key,
    )


def _at_address(name: str) -> Endpoint:
    before, _, rest = name.partition("://")
    kind, _, scheme = before.rpartition("+")
    if kind and kind not in DIALECTS:
        raise OptionError(f"{kind} is no known dialect; {nearest(kind, DIALECTS)}. {FORMS}")
    address = Address.parse(f"{scheme}://{rest}")
    dialect = DIALECTS[kind or _dialect_of(address.base)]
    _check_model(address.model, f"{address}#{address.model}")
    route = dialect.route.format(model=address.model)
    if not address.base.endswith(route):
        address = address.at(route)
    address, model = dataclasses.replace(address, model=""), address.model
    # Not every server of the OpenAI protocol gives base64, but all give numbers.
    extra = {**dialect.extra, "encoding_format": "float"} if "encoding_format" in dialect.extra else dialect.extra
    return Endpoint(
        name=f"{kind + '+' if kind else ''}{address}#{model}",
        dialect=dataclasses.replace(dialect, extra=extra, most_texts=min(dialect.most_texts, 64)),
        address=address,
        model=model,
        facts=dialect.models.get(model, Model()),
        key_variable=URL_KEY,
    )


def _dialect_of(path: str) -> str:
    ends = {"/api/embed": "ollama", "/embed": "tei", ":batchEmbedContents": "gemini"}
    return next((name for end, name in ends.items() if path.endswith(end)), "openai")


def _check_model(model: str, name: str) -> None:
    if not _MODEL.fullmatch(model):
        raise OptionError(f"{PREFIX}{name} does not name a model. {FORMS}")
