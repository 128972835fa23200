"""The page on which a person compares two searches: three files, sent as they are, that ask the other endpoints.

The page is the same for everybody and holds nothing of an index, so it needs no API key; what it asks does.
"""

from __future__ import annotations

from importlib.resources import files

from leafkit.serve.replies import Reply

# The browser then takes scripts, styles and answers from this server alone, and no other site can frame the page.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.mjs": ("page.mjs", "text/javascript; charset=utf-8"),
}


def page_files() -> dict[str, Reply]:
    """Return the answer of each path of the page."""
    folder = files(__name__)
    return {
        path: Reply((folder / name).read_bytes(), kind=kind, headers=_HEADERS) for path, (name, kind) in _FILES.items()
    }
