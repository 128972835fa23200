"""HTML whose text is escaped unless it is markup already."""

from __future__ import annotations

from html import escape


class Html(str):
    """Markup, which goes into an element as it is."""

    __slots__ = ()


def element(tag: str, *parts: object, **attributes: object) -> Html:
    """``<tag attributes>parts</tag>``: parts that are no `Html` are escaped, and so is every attribute.

    >>> element("p", "a < b", element("b", 1), class_="note")
    '<p class="note">a &lt; b<b>1</b></p>'
    """
    given = "".join(f' {name.rstrip("_")}="{escape(str(value))}"' for name, value in attributes.items())
    return Html(f"<{tag}{given}>{joined(parts)}</{tag}>")


def joined(parts: object) -> Html:
    """``parts``, one after the other."""
    return Html("".join(part if isinstance(part, Html) else escape(str(part)) for part in parts))
