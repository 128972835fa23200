"""A server that serves the student, asked through text-embeddings-inference's or OpenAI's protocol.

text-embeddings-inference takes the name of the role's prompt and reads the prompt from the student's folder. The OpenAI
protocol knows no prompts, so they are put before each text.
"""

from __future__ import annotations

import dataclasses
import http
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from leafkit.errors import InputError
from leafkit.runtimes.golden import GoldenVectors
from leafkit.runtimes.runtime import Answer
from leafkit.teachers.api.answers import excerpt, openai_vectors, read_answer, tei_vectors
from leafkit.teachers.api.http import Address, Client
from leafkit.types import Float32, Role

EMBED, EMBEDDINGS = "/embed", "/embeddings"
# Servers that do not truncate refuse the longest golden text with one of these.
TOO_LONG = (400, 413, 422)


@dataclass(frozen=True, kw_only=True)
class Server:
    """The server at ``address``, which gets no text before `encode`."""

    address: Address
    client: Client
    file = ""
    precision = None

    @property
    def name(self) -> str:
        """The address as given, without the model."""
        return str(self.address)

    @property
    def prompt(self) -> str:
        """How prompts are applied, which depends on the protocol."""
        return "prompt_name (TEI), put before each text (OpenAI)"

    def encode(self, golden: GoldenVectors) -> Answer:
        """Send the golden texts and return the vectors.

        The texts go in two requests: all short ones, then the longest one alone, which a server without truncation
        refuses. Raises `InputError` for a server that cannot be reached or answers in another shape.
        """
        protocol = self._protocol(golden)
        longest = max(range(len(golden.texts)), key=lambda row: len(golden.texts[row]))
        short = [row for row in range(len(golden.texts)) if row != longest]
        vectors = protocol.vectors(golden, short)
        try:
            vectors = numpy.concatenate([vectors, protocol.vectors(golden, [longest])])
            rows, note = [*short, longest], ""
        except TooLongError:
            rows, note = short, "does not truncate: the longest text was refused"
        return Answer(vectors=vectors, rows=rows, version=protocol.version, note=note)

    def _protocol(self, golden: GoldenVectors) -> Protocol:
        """Find out which protocol the server speaks, and which version and model it names."""
        if self.address.base.endswith(EMBED):
            base = dataclasses.replace(self.address, base=self.address.base.removesuffix(EMBED))
            return Tei(client=self.client, address=self.address, version=_tei_version(self.client, base) or "")
        if self.address.base.endswith(EMBEDDINGS):
            base = dataclasses.replace(self.address, base=self.address.base.removesuffix(EMBEDDINGS))
        else:
            version = _tei_version(self.client, self.address)
            if version is not None:
                return Tei(client=self.client, address=self.address.at(EMBED), version=version)
            base = self.address if self.address.base.endswith("/v1") else self.address.at("/v1")
        model = self.address.model or _first_model(self.client, base) or golden.folder.resolve().name
        return OpenAI(client=self.client, address=base.at(EMBEDDINGS), version="", model=model)


class TooLongError(InputError):
    """A server refused a text, which may be too long for it."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The route ``address`` of a server."""

    client: Client
    address: Address
    version: str

    def vectors(self, golden: GoldenVectors, rows: Sequence[int]) -> Float32:
        """Return the vectors, (len(rows), dim), of the golden texts ``rows``."""
        raise NotImplementedError

    def _ask(self, content: dict[str, Any]) -> Any:
        status, body, _ = self.client.post(self.address, content)
        if status != http.HTTPStatus.OK:
            kind = TooLongError if status in TOO_LONG else InputError
            raise kind(f"{self.address} answers with status {status} ({excerpt(body)!r}).")
        return read_answer(body, source=str(self.address))


class Tei(Protocol):
    """The protocol of text-embeddings-inference."""

    def vectors(self, golden: GoldenVectors, rows: Sequence[int]) -> Float32:
        """Ask for the vectors of each role with the name of its prompt."""
        found = numpy.empty((len(rows), golden.space.dim), dtype=numpy.float32)
        roles: list[Role] = [golden.roles[row] for row in rows]
        for role in dict.fromkeys(roles):
            places = [place for place, row in enumerate(rows) if golden.roles[row] == role]
            content: dict[str, Any] = {
                "inputs": [golden.texts[rows[place]] for place in places],
                "truncate": True,
                "normalize": golden.space.normalised,
            }
            if golden.prompts[role]:
                content["prompt_name"] = role
            found[places] = tei_vectors(
                self._ask(content), rows=len(places), dim=golden.space.dim, source=str(self.address)
            )
        return found


@dataclass(frozen=True, kw_only=True)
class OpenAI(Protocol):
    """The protocol of OpenAI's embeddings, for the model that the server calls ``model``."""

    model: str

    def vectors(self, golden: GoldenVectors, rows: Sequence[int]) -> Float32:
        """Ask for the vectors of the texts with their prompts in front."""
        prompted = golden.prompted()
        content = {"model": self.model, "input": [prompted[row] for row in rows], "encoding_format": "float"}
        return openai_vectors(self._ask(content), rows=len(rows), dim=golden.space.dim, source=str(self.address))


def _tei_version(client: Client, base: Address) -> str | None:
    """Return the version of the text-embeddings-inference at ``base``; None if another server answers."""
    found = _object_at(client, base.at("/info"))
    return str(found.get("version", "")) if "model_id" in found else None


def _first_model(client: Client, base: Address) -> str | None:
    """Return the name of the first model that the OpenAI-compatible server at ``base`` lists."""
    models = _object_at(client, base.at("/models")).get("data")
    first = models[0] if isinstance(models, list) and models else None
    name = first.get("id") if isinstance(first, dict) else None
    return name if isinstance(name, str) else None


def _object_at(client: Client, address: Address) -> dict[str, Any]:
    """Return the JSON object at ``address``, empty if something else is there."""
    status, body, _ = client.get(address)
    if status != http.HTTPStatus.OK:
        return {}
    try:
        content = read_answer(body, source=str(address))
    except InputError:
        return {}
    return content if isinstance(content, dict) else {}
