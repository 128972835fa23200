"""The dialects of embedding servers, and the models that providers sell: one table each.

A dialect is data: where it answers, what its fields are called, and how it names the two roles. The models' widths,
limits and prices change; a file of the user's own overrides them (`read_prices`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leafkit.errors import InputError
from leafkit.files.json_file import explain_invalid, read_bytes
from leafkit.types import Role

URL_KEY = "LEAFKIT_API_KEY"  # the key of a server that is named by its address
PRICES_DATE = "2026-05"  # when the prices below were compared with the providers' lists
MOST_BYTES = 1 << 20  # of a file with prices


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is known about a model: its width, its limit of tokens a text, US dollars per million tokens.

    widths: the other widths that ``dimensions`` may ask for; None if any shorter one may be asked for.
    roles: whether the model takes the dialect's field of roles.
    """

    width: int | None = None
    limit: int | None = None
    price: float | None = None
    widths: tuple[int, ...] | None = None
    roles: bool = True


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How one kind of server is asked and how it answers.

    url: where the provider itself answers; empty for servers that users run.
    route: the path below the address of the server; ``{model}`` stands for the name of the model.
    key, key_header: the environment variable with the provider's key, and the header that carries the key.
    texts: the field of the texts. ``each`` says that every text is a request of its own in this list (Gemini).
    model, dimensions: the fields of the model's name and of the width; empty if there is none.
    role, roles: the field of the role and its two values; an empty field means that prompts are put before texts.
    truncate: the field that allows truncation, its value to refuse long texts, and its value to truncate them.
    extra: fields of every request.
    vectors, usage: the path to the list of vectors in an answer, and to the number of tokens.
    value: the field of the numbers in each item of that list, if the items are objects; ``indexed`` if their field
        ``index`` gives the order.
    most_texts, most_tokens: of one request.
    """

    name: str
    url: str = ""
    route: str
    key: str = URL_KEY
    key_header: str = "Authorization"
    texts: str
    each: bool = False
    model: str = "model"
    dimensions: str = "dimensions"
    role: str = ""
    roles: Mapping[Role, str] = field(default_factory=dict)
    truncate: tuple[str, Any, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    vectors: tuple[str, ...] = ()
    usage: tuple[str, ...] = ()
    value: str = ""
    indexed: bool = False
    most_texts: int
    most_tokens: int
    models: Mapping[str, Model] = field(default_factory=dict)

    def request(
        self, model: str, texts: Sequence[str], role: Role | None, *, dimensions: int | None, truncate: bool
    ) -> dict[str, Any]:
        """Return the body that asks for the vectors of ``texts``; ``role`` is None for a model without roles."""
        fields = dict(self.extra)
        if role is not None:
            fields[self.role] = self.roles[role]
        if dimensions is not None:
            fields[self.dimensions] = dimensions
        if self.truncate is not None:
            name, refused, truncated = self.truncate
            fields[name] = truncated if truncate else refused
        if self.each:
            name = f"models/{model}"
            return {self.texts: [{self.model: name, "content": {"parts": [{"text": t}]}, **fields} for t in texts]}
        named = {self.model: model} if self.model else {}
        return {**named, self.texts: list(texts), **fields}


_V3 = Model(width=1024, limit=512, price=0.10, widths=())
_VOYAGE = (256, 512, 1024, 2048)

_OPENAI = Dialect(
    name="openai",
    url="https://api.openai.com/v1",
    route="/embeddings",
    key="OPENAI_API_KEY",
    texts="input",
    extra={"encoding_format": "base64"},
    vectors=("data",),
    usage=("usage", "prompt_tokens"),
    value="embedding",
    indexed=True,
    most_texts=256,  # 2,048 are allowed; fewer are lost with a cut connection
    most_tokens=300_000,
    models={
        "text-embedding-3-small": Model(width=1536, limit=8192, price=0.02),
        "text-embedding-3-large": Model(width=3072, limit=8192, price=0.13),
        "text-embedding-ada-002": Model(width=1536, limit=8192, price=0.10, widths=()),
    },
)

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        _OPENAI,
        Dialect(
            name="cohere",
            url="https://api.cohere.com/v2",
            route="/embed",
            key="COHERE_API_KEY",
            texts="texts",
            dimensions="output_dimension",
            role="input_type",
            roles={"query": "search_query", "document": "search_document"},
            truncate=("truncate", "NONE", "END"),
            extra={"embedding_types": ["float"]},
            vectors=("embeddings", "float"),
            usage=("meta", "billed_units", "input_tokens"),
            most_texts=96,
            most_tokens=128_000,
            models={
                "embed-v4.0": Model(width=1536, limit=128_000, price=0.12, widths=(256, 512, 1024, 1536)),
                "embed-english-v3.0": _V3,
                "embed-multilingual-v3.0": _V3,
            },
        ),
        Dialect(
            name="voyage",
            url="https://api.voyageai.com/v1",
            route="/embeddings",
            key="VOYAGE_API_KEY",
            texts="input",
            dimensions="output_dimension",
            role="input_type",
            roles={"query": "query", "document": "document"},
            truncate=("truncation", False, True),
            vectors=("data",),
            usage=("usage", "total_tokens"),
            value="embedding",
            indexed=True,
            most_texts=256,
            most_tokens=120_000,
            models={
                "voyage-4-large": Model(width=1024, limit=32_000, price=0.12, widths=_VOYAGE),
                "voyage-4": Model(width=1024, limit=32_000, price=0.06, widths=_VOYAGE),
                "voyage-4-lite": Model(width=1024, limit=32_000, price=0.02, widths=_VOYAGE),
                "voyage-3-large": Model(width=1024, limit=32_000, price=0.18, widths=_VOYAGE),
                "voyage-3.5": Model(width=1024, limit=32_000, price=0.06, widths=_VOYAGE),
                "voyage-code-3": Model(width=1024, limit=32_000, price=0.18, widths=_VOYAGE),
            },
        ),
        Dialect(
            name="gemini",
            url="https://generativelanguage.googleapis.com/v1beta",
            route="/models/{model}:batchEmbedContents",
            key="GEMINI_API_KEY",
            key_header="x-goog-api-key",
            texts="requests",
            each=True,
            dimensions="outputDimensionality",
            role="taskType",
            roles={"query": "RETRIEVAL_QUERY", "document": "RETRIEVAL_DOCUMENT"},
            vectors=("embeddings",),
            value="values",
            most_texts=100,
            most_tokens=100_000,
            models={
                "gemini-embedding-001": Model(width=3072, limit=2048, price=0.15),
                # No task type: its instructions are prompts.
                "gemini-embedding-2": Model(width=3072, limit=8192, price=0.20, roles=False),
            },
        ),
        Dialect(
            name="tei",
            route="/embed",
            texts="inputs",
            model="",
            truncate=("truncate", False, True),
            most_texts=32,
            most_tokens=100_000,
        ),
        Dialect(
            name="ollama",
            route="/api/embed",
            texts="input",
            truncate=("truncate", False, True),
            vectors=("embeddings",),
            usage=("prompt_eval_count",),
            most_texts=32,
            most_tokens=100_000,
        ),
    )
}


def read_prices(path: Path) -> dict[str, float]:
    """Return the US dollars per million tokens of each model that the TOML file ``path`` names.

    A line is ``"openai/text-embedding-3-small" = 0.02``; for a server that is named by its address, the model's name
    alone. Raises `InputError` for anything else.
    """
    advice = 'Write one line a model: "openai/text-embedding-3-small" = 0.02.'
    with explain_invalid(path, expected="a file of prices", advice=advice, error_type=InputError):
        prices = tomllib.loads(read_bytes(path, most_bytes=MOST_BYTES).decode())
        for name, price in prices.items():
            if type(price) not in (int, float) or not 0 <= price < 1e6:
                raise ValueError(f"the price of {name} is {price!r}")
    return {name: float(price) for name, price in prices.items()}
