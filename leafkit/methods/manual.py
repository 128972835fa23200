"""The manual page of a method, taken from its file: description, fields, paper and result."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from leafkit.methods.ledger import ledger_row
from leafkit.methods.method import Method
from leafkit.methods.registry import field_types, method_class
from leafkit.shipped import resolve_recipe

_NAMES = re.compile(r"(``\w+``(?:,? (?:and )?``\w+``)*):\s")


def manual_page(name: str) -> dict[str, Any]:
    """Return the manual page of the method ``name``; raise `OptionError` with the nearest name if there is none.

    ``recipe`` is the path of the shipped recipe of that name, or None. ``result`` is the method's row of the ledger.
    """
    cls = method_class(name)
    title, _, equations = inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "").partition("\n")
    recipe = resolve_recipe(name)
    row = ledger_row(name)
    return {
        "name": name,
        "title": title,
        "folder": row.folder,
        "option": cls.option,
        "description": _without_fields(inspect.cleandoc(cls.__doc__ or "")),
        "equations": re.sub(r"^Paper: .*\n?", "", equations.strip("\n"), flags=re.MULTILINE).strip("\n"),
        "fields": [_field(cls, field) for field in dataclasses.fields(cls)],
        "needs": sorted(cls().needs),
        "off": dict(cls.off),
        "reconstruction": cls.reconstruction,
        "paper": cls.paper,
        "citation": _citation(name, title, cls.paper),
        "recipe": str(recipe) if recipe != Path(name) and recipe.is_file() else None,
        "result": row.to_json(),
    }


def field_meaning(cls: type[Method], field: str) -> str:
    """Return what the docstring of ``cls``, or of the nearest base class, says about ``field``; empty if nothing."""
    for owner in cls.__mro__:
        text = inspect.cleandoc(owner.__doc__ or "") if issubclass(owner, Method) else ""
        for paragraph in text.split("\n\n"):
            if (meaning := _find_meaning(paragraph, field)) is not None:
                return meaning
    return ""


def _find_meaning(paragraph: str, field: str) -> str | None:
    """Return the text after ``field``, up to the next field, or else the sentence that begins with ``field``."""
    parts = _NAMES.split(paragraph)
    for names, words in zip(parts[1::2], parts[2::2], strict=True):
        if f"``{field}``" in names:
            return " ".join(words.split())
    sentence = re.search(rf"(?:^|[.;]\s+)``{field}``\s+([^`:][^.;]*)", paragraph)
    return " ".join(sentence[1].removeprefix("is ").split()) if sentence else None


def _without_fields(text: str) -> str:
    """Return ``text`` without the paragraphs that list fields; the page lists the fields separately."""
    return "\n\n".join(paragraph for paragraph in text.split("\n\n") if not _NAMES.match(paragraph))


def _field(cls: type[Method], field: dataclasses.Field[Any]) -> dict[str, Any]:
    """Return the name, type, default and meaning of a field."""
    hint = field_types(cls)[field.name]
    shown = (
        " | ".join(map(str, get_args(hint))) if get_origin(hint) is Literal else getattr(hint, "__name__", str(hint))
    )
    default = None if field.default is dataclasses.MISSING else field.default
    return {"name": field.name, "type": shown, "default": default, "meaning": field_meaning(cls, field.name)}


def _citation(name: str, title: str, paper: str) -> str:
    """Return a BibTeX entry with the title, the link, and the arXiv number if the link has one."""
    number = re.search(r"arxiv\.org/(?:abs|pdf)/(\d+\.\d+)", paper)
    lines = [f"  url = {{{paper}}}"]
    if number:
        lines = [f"  eprint = {{{number[1]}}}", "  archivePrefix = {arXiv}", *lines]
    return f"@misc{{{name},\n" + ",\n".join([f"  note = {{{title.rstrip('.')}}}", *lines]) + "\n}"
