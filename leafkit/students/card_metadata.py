"""The metadata block at the top of a model card: read from the card of a start, and written into a student's card.

The block is YAML. The few fields that are read are plain strings, so that no YAML of a stranger is interpreted. Strings
are written as JSON, which is YAML as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from leafkit.files.json_file import read_bytes

CARD_FILE = "README.md"
LIBRARY, TASK = "sentence-transformers", "sentence-similarity"
TAGS = ("sentence-transformers", "feature-extraction", "sentence-similarity")
ONNX_TAGS = ("onnx", "transformers.js")
OWN_TAGS = ("leafkit", "knowledge-distillation", "asymmetric")
NO_LICENCE = "No licence set."
_BLOCK = re.compile(r"\A---[ \t]*\n(?P<fields>(?:.*\n)*?)---[ \t]*\n")
_STATED = {"license": r"[\w.+-]{1,60}", "base_model": r"[\w.-]{1,96}/[\w.-]{1,96}"}
_IN_HUB_CACHE = re.compile(r"models--(?P<owner>[\w.-]+?)--(?P<name>[\w.-]+)")
_MOST_BYTES = 1 << 20


def tags_of(folder: Path) -> list[str]:
    """Return the tags of the student in ``folder``, which depend on whether it has ONNX files."""
    exported = (folder / "onnx" / "export.json").is_file()
    return [*TAGS, *(ONNX_TAGS if exported else ()), *OWN_TAGS]


def stated_in(card: str) -> dict[str, str]:
    """Return ``license`` and ``base_model`` as far as the metadata of ``card`` states them, the first of several."""
    block = _BLOCK.match(card)
    found = {}
    for name, form in _STATED.items():
        field = rf"^{name}:[ \t]*(?:\n[ \t]*-[ \t]*)?[\"']?({form})[\"']?[ \t]*$"
        if block and (match := re.search(field, block["fields"], re.MULTILINE)):
            found[name] = match[1]
    return found


def origin_of(source: str, folder: Path) -> dict[str, str]:
    """Return ``license`` and ``base_model`` of the model ``source`` in ``folder`` as far as its files state them.

    ``folder`` is that of a package or of the hub's cache, or one that the user named; it does not exist for a hub id
    without one. The licence of a package counts if the model's card states none.
    """
    stated: dict[str, str] = {}
    if (folder / CARD_FILE).is_file():
        stated = stated_in(_text(folder / CARD_FILE))
    if source.startswith("package:") and "license" not in stated:
        licence = str(metadata.metadata(source.removeprefix("package:")).json.get("license_expression", "")).lower()
        if re.fullmatch(_STATED["license"], licence):
            stated["license"] = licence
    cached = next(filter(None, map(_IN_HUB_CACHE.fullmatch, folder.parts)), None)
    if cached is not None:
        stated["base_model"] = f"{cached['owner']}/{cached['name']}"
    elif not folder.exists() and re.fullmatch(_STATED["base_model"], source):
        stated["base_model"] = source
    return stated


def with_metadata(card: str, *, tags: Iterable[str], licence: str | None, base_model: str | None) -> str:
    """Return ``card`` with these values in its metadata, and all other metadata unchanged.

    A licence or base model that is None stays as it is in ``card``.
    """
    block = _BLOCK.match(card)
    given = {"license": licence, "base_model": base_model}
    ours = {"library_name": LIBRARY, "pipeline_tag": TASK, **{k: v for k, v in given.items() if v is not None}}
    fields, drop = [], False
    for line in block["fields"].splitlines() if block else []:
        if re.match(r"\w", line):  # the lines that continue a field are indented or items of a list
            drop = line.partition(":")[0] in {*ours, "tags"}
        if not drop:
            fields.append(line)
    lines = [f"{name}: {json.dumps(value)}" for name, value in ours.items()]
    lines += [*fields, "tags:", *(f"- {tag}" for tag in tags)]
    return "\n".join(["---", *lines, "---", card[block.end() :] if block else card])


def licence_text(licence: str | None) -> str:
    """Return the sentence of a card about its ``licence``."""
    return NO_LICENCE if licence is None else f"The licence is `{licence}`."


def read_card(folder: Path) -> str | None:
    """Return the model card in ``folder``; None if there is none that can be read."""
    return _text(folder / CARD_FILE) if (folder / CARD_FILE).is_file() else None


def _text(file: Path) -> str:
    try:
        return read_bytes(file, most_bytes=_MOST_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    except (OSError, ValueError):  # the card is for people, and decides nothing
        return ""
