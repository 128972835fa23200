"""HTML elements whose text is escaped, unless it is markup already."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


class Html(str):
    """Markup, which is inserted into an element without escaping."""

    __slots__ = ()


def element(tag: str, *parts: object, **attributes: object) -> Html:
    """Return ``<tag attributes>parts</tag>``; attributes are escaped, and so are parts other than `Html`.

    A trailing underscore of an attribute's name is removed, and another one stands for a hyphen.

    >>> element("p", "a < b", element("b", 1), class_="note")
    '<p class="note">a &lt; b<b>1</b></p>'
    """
    named = {name.rstrip("_").replace("_", "-"): escape(str(value)) for name, value in attributes.items()}
    given = "".join(f' {name}="{value}"' for name, value in named.items())
    return Html(f"<{tag}{given}>{joined(parts)}</{tag}>")


def joined(parts: Iterable[object]) -> Html:
    """Concatenate ``parts``, escaping those other than `Html`."""
    return Html("".join(part if isinstance(part, Html) else escape(str(part)) for part in parts))
