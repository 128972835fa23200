"""Griffe extension: show lines such as ``epochs: passes over the texts.`` of a docstring as a list."""

from __future__ import annotations

import re
from typing import Any

from griffe import Docstring, Extension, Object

_ITEM = re.compile(r"(\*{0,2}[a-z_]\w*(?:, [a-z_]\w*)*): (?=\S)")
_TREE = re.compile(r"^[├└│]", flags=re.MULTILINE)


class Docstrings(Extension):
    """Rewrite the docstring of every object as Markdown before mkdocstrings renders it."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Replace the text of the docstring of ``obj``, if there is one."""
        if obj.docstring:
            obj.docstring = Docstring(as_markdown(obj.docstring.value), parent=obj)


def as_markdown(text: str) -> str:
    """Return a docstring as Markdown: parameter lines as a list, a drawn tree and a literal block as code."""
    return "\n\n".join(_block(block) for block in re.split(r"\n(?:[ \t]*\n)+", text))


def _block(block: str) -> str:
    lines = block.splitlines()
    if block.startswith("    "):  # code, which Markdown shows as it is
        return block
    if _TREE.search(block):
        return "```text\n" + block + "\n```"
    if not any(_ITEM.match(line) for line in lines):
        return re.sub(r"::$", ":", block)
    shown: list[str] = []
    inside = False
    for line in lines:
        found = _ITEM.match(line)
        if found:
            shown += [] if inside else [""]
            shown.append(f"- `{found[1].strip('*')}`: {line[found.end() :]}")
            inside = True
        else:
            shown.append(f"  {line.strip()}" if inside else line)
    return "\n".join(shown).strip("\n")
