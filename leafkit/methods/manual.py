"""The manual page of a system, from its own file: what it does, its fields, its paper, and what came of it."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from leafkit.methods.method import Method
from leafkit.methods.registry import field_types, method_class
from leafkit.shipped import resolve_recipe

from .ledger import ledger_row

_NAMES = re.compile(r"(``\w+``(?:,? (?:and )?``\w+``)*):\s")


def manual_page(name: str) -> dict[str, Any]:
    """Everything about the system ``name``; raises `OptionError` with the nearest name where there is none.

    ``recipe`` is the path of the recipe that ships under its name, None without one; ``result`` its row of the ledger.
    """
    kind = method_class(name)
    title, _, equations = inspect.cleandoc(sys.modules[kind.__module__].__doc__ or "").partition("\n")
    recipe = resolve_recipe(name)
    found = ledger_row(name)
    return {
        "name": name,
        "title": title,
        "folder": found.folder,
        "description": _prose(inspect.cleandoc(kind.__doc__ or "")),
        "equations": re.sub(r"^Paper: .*\n?", "", equations.strip("\n"), flags=re.MULTILINE).strip("\n"),
        "fields": [_field(kind, field) for field in dataclasses.fields(kind)],
        "needs": sorted(kind.needs),
        "off": dict(kind.off),
        "reconstruction": kind.reconstruction,
        "paper": kind.paper,
        "citation": _citation(name, title, kind.paper),
        "recipe": str(recipe) if recipe != Path(name) and recipe.is_file() else None,
        "result": found.to_json(),
    }


def field_meaning(kind: type[Method], field: str) -> str:
    """What the docstring of ``kind``, or else of what it derives from, says of ``field``; empty if nothing."""
    for owner in kind.__mro__:
        text = inspect.cleandoc(owner.__doc__ or "") if issubclass(owner, Method) else ""
        for paragraph in text.split("\n\n"):
            if (found := _said(paragraph, field)) is not None:
                return found
    return ""


def _said(paragraph: str, field: str) -> str | None:
    """The words behind ``field``: up to the next field, or the sentence that begins with it."""
    parts = _NAMES.split(paragraph)
    for names, words in zip(parts[1::2], parts[2::2], strict=True):
        if f"``{field}``" in names:
            return " ".join(words.split())
    sentence = re.search(rf"(?:^|[.;]\s+)``{field}``\s+([^`:][^.;]*)", paragraph)
    return " ".join(sentence[1].removeprefix("is ").split()) if sentence else None


def _prose(text: str) -> str:
    """``text`` without the paragraphs that list fields, which have a place of their own."""
    return "\n\n".join(paragraph for paragraph in text.split("\n\n") if not _NAMES.match(paragraph))


def _field(kind: type[Method], field: dataclasses.Field[Any]) -> dict[str, Any]:
    hint = field_types(kind)[field.name]
    shown = (
        " | ".join(map(str, get_args(hint))) if get_origin(hint) is Literal else getattr(hint, "__name__", str(hint))
    )
    default = None if field.default is dataclasses.MISSING else field.default
    return {"name": field.name, "type": shown, "default": default, "meaning": field_meaning(kind, field.name)}


def _citation(name: str, title: str, paper: str) -> str:
    """A BibTeX entry of what is known here: the link, and arXiv's number where it is one."""
    number = re.search(r"arxiv\.org/(?:abs|pdf)/(\d+\.\d+)", paper)
    known = [f"  url = {{{paper}}}"]
    if number:
        known = [f"  eprint = {{{number[1]}}}", "  archivePrefix = {arXiv}", *known]
    return f"@misc{{{name},\n" + ",\n".join([f"  note = {{{title.rstrip('.')}}}", *known]) + "\n}"
