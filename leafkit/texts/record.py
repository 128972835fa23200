"""One text with its id, title, role and the other columns of its row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from leafkit.types import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text to encode; ``payload`` holds the other columns of its row, as values that JSON can hold."""

    id: str
    text: str
    role: Role | None = None
    title: str = ""
    payload: dict[str, Any] = field(default_factory=dict)

    @property
    def full_text(self) -> str:
        """The string that models encode: title and text, joined by `join_title`."""
        return join_title(self.title, self.text)


def join_title(title: str, text: str) -> str:
    """Join title and text by a space, as BEIR and MTEB do, and strip surrounding white space."""
    return f"{title} {text}".strip()
