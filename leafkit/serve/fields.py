"""The fields of requests: each is checked, and an unknown one is refused with the name of the nearest."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import nearest
from leafkit.files.json_file import parse_json_object
from leafkit.search.searcher import Searcher
from leafkit.serve.options import ServeOptions
from leafkit.serve.replies import RequestError
from leafkit.types import Float32

# Values of the fields of text-embeddings-inference that change nothing here: long texts are truncated at their end, and
# vectors are those of the teacher's space.
_TEI_VALUES = {"truncate": (True, False, None), "truncation_direction": ("right", "Right"), "normalize": (True, None)}
# What clients of several kinds call the two roles.
QUERY_WORDS = ("query", "search_query", "retrieval.query", "queries")
DOCUMENT_WORDS = ("document", "search_document", "passage", "retrieval.passage", "documents", "doc", "corpus")


def invalid(message: str) -> RequestError:
    """Return the error for a request that is read but cannot be answered."""
    return RequestError(422, message)


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``; raises `RequestError` 400 for anything else."""
    try:
        return parse_json_object(body)
    except ValueError as error:
        reason = str(error) if len(str(error)) < 200 else f"{str(error)[:200]}..."
        raise RequestError(400, f"the body is not a JSON object: {reason}. Send {{...}} in UTF-8.") from error


def check_names(content: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise `RequestError` 422 for the first field of ``content`` that is not ``known``."""
    known = list(known)
    for name in content:
        if name not in known:
            raise invalid(f"this endpoint has no field {name[:80]!r}; {nearest(name[:80], known)}.".replace("?.", "?"))


@dataclass(frozen=True)
class SearchRequest:
    """A checked request to /search. ``queries`` are texts or vectors; ``single`` if one was sent and not a list."""

    index: str | None
    queries: list[str] | list[Float32]
    single: bool
    options: dict[str, Any]

    @classmethod
    def parse(cls, content: Mapping[str, Any], limits: ServeOptions) -> SearchRequest:
        """Check the fields of ``content``; raises `RequestError` 422 for the first that is invalid."""
        check_names(content, ("query", "vector", "index", *search_options()))
        given = [name for name in ("query", "vector") if content.get(name) is not None]
        if len(given) != 1:
            wrong = "both query and vector" if given else "neither query nor vector"
            raise invalid(f"the request has {wrong}. Send a text or a list of texts as query, or numbers as vector.")
        value = content[given[0]]
        if given[0] == "query":
            single, queries = isinstance(value, str), texts(value, "query", limits)
        else:
            single, queries = _vectors(value, limits)
        options = {name: check(content[name], limits) for name, check in search_options().items() if name in content}
        return cls(index_name(content.get("index"), "index"), queries, single, options)


@dataclass(frozen=True)
class EmbeddingRequest:
    """A checked request for the vectors of queries. ``dim`` is the asked width, None for all components."""

    index: str | None
    texts: list[str]
    base64: bool = False
    dim: int | None = None

    @classmethod
    def parse_openai(cls, content: Mapping[str, Any], limits: ServeOptions) -> EmbeddingRequest:
        """Check a request to /v1/embeddings; ``model`` names the index, and ``input_type`` may say the role."""
        check_names(content, ("model", "input", "encoding_format", "dimensions", "user", "input_type"))
        if "model" not in content:
            raise invalid("the request has no model. Name the index whose student encodes; /info lists them.")
        _check_role(content.get("input_type"), "input_type")
        encoding = content.get("encoding_format", "float")
        if encoding not in ("float", "base64"):
            raise invalid(f"encoding_format is {_shown(encoding)}; expected float or base64.")
        return cls(
            index=index_name(content["model"], "model"),
            texts=texts(content.get("input"), "input", limits),
            base64=encoding == "base64",
            dim=_dimensions(content.get("dimensions")),
        )

    @classmethod
    def parse_tei(cls, content: Mapping[str, Any], limits: ServeOptions) -> EmbeddingRequest:
        """Check a request to /embed, with the fields of text-embeddings-inference and ``index``."""
        names = ("inputs", "normalize", "truncate", "truncation_direction", "prompt_name", "dimensions", "index")
        check_names(content, names)
        _check_role(content.get("prompt_name"), "prompt_name")
        for name, known in _TEI_VALUES.items():
            # As JSON, because in Python 1 equals True.
            if name in content and json.dumps(content[name]) not in map(json.dumps, known):
                raise invalid(f"{name} is {_shown(content[name])}; expected {json.dumps(known[0])}, or leave it out.")
        return cls(
            index=index_name(content.get("index"), "index"),
            texts=texts(content.get("inputs"), "inputs", limits),
            dim=_dimensions(content.get("dimensions")),
        )


def texts(value: Any, name: str, limits: ServeOptions) -> list[str]:
    """Return the text or list of texts ``value`` as a list; raises `RequestError` 422 naming the first invalid one."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items:
        raise invalid(f"{name} is {_shown(value)}; expected a text or a list of texts.")
    _check_count(len(items), name, limits)
    for number, text in enumerate(items, start=1):
        place = f"text {number} of {len(items)}"
        if isinstance(text, int | list):
            raise invalid(f"{place} is a list of token ids, which depend on the model. Send the text itself.")
        if not isinstance(text, str) or not text.strip():
            raise invalid(f"{place} is {_shown(text)}; expected a text that is not blank.")
        if len(text) > limits.max_characters:
            raise invalid(
                f"{place} has {len(text)} characters; expected at most {limits.max_characters}. Shorten it, or start "
                "the server with a larger --max-characters."
            )
    return items


def index_name(value: Any, name: str) -> str | None:
    """Return the name of an index or None; raises `RequestError` 422 for anything else."""
    if value is not None and not isinstance(value, str):
        raise invalid(f"{name} is {_shown(value)}; expected the name of an index. /info lists them.")
    return value


def search_options() -> dict[str, Callable[[Any, ServeOptions], Any]]:
    """Return the check of each field that goes to `Searcher.search` as it is: those that it takes today."""
    return {name: check for name, check in _CHECKS.items() if name in _TAKEN}


def _k(value: Any, limits: ServeOptions) -> int:
    if type(value) is not int or not 1 <= value <= limits.max_k:
        raise invalid(
            f"k is {_shown(value)}; expected a whole number from 1 to {limits.max_k}. A server started with a larger "
            "--max-k gives more hits."
        )
    return value


def _allow(value: Any, limits: ServeOptions) -> list[str] | None:
    if value is not None and not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        raise invalid(f"allow is {_shown(value)}; expected a list of ids.")
    return value


def _where(value: Any, limits: ServeOptions) -> Any:
    if not isinstance(value, str | dict | None):
        raise invalid(f'where is {_shown(value)}; expected an object such as {{"year": {{">=": 2020}}}}, or a string.')
    return value


def _hybrid(value: Any, limits: ServeOptions) -> Any:
    if not isinstance(value, bool | int | float | str | None):
        raise invalid(f"hybrid is {_shown(value)}; expected the weight of the vectors, from 0 to 1.")
    return value


def _effort(value: Any, limits: ServeOptions) -> Any:
    if not isinstance(value, str | None):
        raise invalid(f"effort is {_shown(value)}; expected a name.")
    return value


_CHECKS = {"k": _k, "allow": _allow, "where": _where, "hybrid": _hybrid, "effort": _effort}
_TAKEN = frozenset(inspect.signature(Searcher.search).parameters)


def _check_role(value: Any, name: str) -> None:
    """Refuse to embed documents: only the teacher's vectors of documents belong into the index."""
    word = value.lower() if isinstance(value, str) else value
    if word in DOCUMENT_WORDS:
        raise invalid(
            f"{name} is {value!r}, but this server encodes queries only. Documents belong to the teacher: a student's "
            "vectors of documents are less exact, and an index that mixes both ranks them unfairly. Add documents "
            "with `leafkit update`."
        )
    if word is not None and word not in QUERY_WORDS:
        raise invalid(f"{name} is {_shown(value)}; expected query, or leave it out.")


def _vectors(value: Any, limits: ServeOptions) -> tuple[bool, list[Float32]]:
    """Return whether ``value`` is one vector and no list of vectors, and the vectors."""
    wrong = invalid(f"vector is {_shown(value)}; expected a list of numbers, or a list of such lists of one length.")
    if not isinstance(value, list) or not value:
        raise wrong
    single = not isinstance(value[0], list)
    rows = [value] if single else value
    _check_count(len(rows), "vector", limits)
    if not all(isinstance(row, list) and row and all(type(x) in (int, float) for x in row) for row in rows):
        raise wrong
    try:
        with numpy.errstate(over="ignore"):  # an infinity is refused by the search
            found: list[NDArray[Any]] = [numpy.array(row, dtype=numpy.float32) for row in rows]
    except OverflowError as error:  # an integer of more than 308 digits
        raise wrong from error
    return single, found


def _check_count(count: int, name: str, limits: ServeOptions) -> None:
    if count > limits.max_texts:
        raise invalid(
            f"{name} has {count} items; expected at most {limits.max_texts}. Send several requests, or start the "
            "server with a larger --max-texts."
        )


def _dimensions(value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 1):
        raise invalid(f"dimensions is {_shown(value)}; expected a whole number of at least 1.")
    return value


def _shown(value: Any) -> str:
    """Return ``value`` for a message, shortened."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
