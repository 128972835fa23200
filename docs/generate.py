"""MkDocs hook: add the pages that come from the code, from eval/results and from the root of the repository.

Nothing that this file makes is committed. ``mkdocs.yml`` names the file under ``hooks``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pymdownx.slugs import slugify

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
for folder in (str(ROOT), str(DOCS)):
    if folder not in sys.path:
        sys.path.insert(0, folder)

import pages_of_code  # noqa: E402  # found through the path set above
import pages_of_files  # noqa: E402


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Use GitHub's heading anchors, and list the studies and methods in the navigation."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    _section(config, "Methods").extend(f"methods/{name}.md" for name in pages_of_code.method_names())
    _section(config, "Results").extend(["results/index.md", *pages_of_files.study_pages()])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every generated page, and the JSON files and pictures of the studies."""
    for address, text in {**pages_of_code.pages(), **pages_of_files.pages()}.items():
        files.append(File.generated(config, address, content=text))
    for address, path in pages_of_files.attachments().items():
        files.append(File.generated(config, address, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace ``<!-- generated: NAME -->`` in a written page by the fragment of that name."""
    for name, make in pages_of_code.FRAGMENTS.items():
        marker = f"<!-- generated: {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, make())
    return markdown


def _section(config: MkDocsConfig, title: str) -> list[Any]:
    """Return the entries of one section of the navigation."""
    return next(part[title] for part in config.nav or [] if isinstance(part, dict) and title in part)
