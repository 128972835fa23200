"""One text, as every part of leafkit sees it: id, text, title, role and whatever else its row held."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from leafkit.types import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text to encode; ``payload`` holds the other columns of its row, ready for JSON."""

    id: str
    text: str
    role: Role | None = None
    title: str = ""
    payload: dict[str, Any] = field(default_factory=dict)

    @property
    def full_text(self) -> str:
        """The string that models encode: title and text, see `join_title`."""
        return join_title(self.title, self.text)


def join_title(title: str, text: str) -> str:
    """What is encoded: title and text joined by a space, as BEIR and MTEB do, without white space around them."""
    return f"{title} {text}".strip()
