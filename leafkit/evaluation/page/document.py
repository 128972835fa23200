"""The frame of a page that needs no other file: a head with the style sheet, and a policy that loads nothing."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from leafkit.errors import OutputError
from leafkit.evaluation.page.html import Html, element

# The page requests nothing. This policy makes the browser block whatever a hostile name might try to load.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def check_file(path: Path) -> None:
    """Raise `OutputError` unless a page can be written to ``path``: if it is a folder, or its parent is missing."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; expected a file. Name a file in it, such as {path / 'report.html'}.")
    if not path.parent.is_dir():
        raise OutputError(f"cannot create {path}: the folder {path.parent} is missing. Create it or choose another.")


def document(title: str, *body: Html) -> str:
    """Return a whole HTML page with this ``title`` and ``body``."""
    style = (files("leafkit.evaluation.page") / "page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        element("title", title),
        element("style", Html(style)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, element('body', *body), lang='en')}\n"
