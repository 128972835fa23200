"""Pages made from other Markdown files: CHANGELOG, CONTRIBUTING, SECURITY and the studies in eval/results."""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "eval" / "results"
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|#|mailto:)([^)\s]+)\)")
_ATTACHED = (".json", ".svg", ".png")


def pages() -> dict[str, str]:
    """Return the Markdown of every page by its address in the documentation."""
    return {address: _rewritten(ROOT / file, address) for file, address in _addresses().items()}


def result_pages() -> dict[str, str]:
    """Return the address of each page of eval/results by its path in the repository; README.md is the index."""
    found = {}
    for path in sorted(RESULTS.rglob("*.md")):
        inside = path.relative_to(RESULTS).as_posix()
        found[f"eval/results/{inside}"] = f"results/{inside}".replace("README.md", "index.md")
    return found


def study_pages() -> list[str]:
    """Return the addresses of the studies in the order in which the index links to them, unlinked ones last."""
    index = (RESULTS / "README.md").read_text(encoding="utf-8")
    studies = [page for page in result_pages().values() if page != "results/index.md"]
    return sorted(studies, key=lambda page: index.find(f"({Path(page).name})") % (len(index) + 1))


def attachments() -> dict[str, Path]:
    """Return the result files and pictures of the studies by their address in the documentation."""
    files = [path for path in sorted(RESULTS.rglob("*")) if path.suffix in _ATTACHED]
    return {f"results/{path.relative_to(RESULTS).as_posix()}": path for path in files}


def _addresses() -> dict[str, str]:
    """Return the address in the documentation of each file of the repository that has a page there."""
    return {
        "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md",
        "SECURITY.md": "security.md",
        **result_pages(),
    }


def _rewritten(path: Path, address: str) -> str:
    """Return the text of ``path`` with links that work from ``address``.

    A link to a file that the documentation does not hold becomes its text.
    """
    targets = {str(ROOT / file): page for file, page in _addresses().items()}
    targets |= {str(ROOT / "README.md"): "index.md"}
    targets |= {str(ROOT / "leafkit" / "methods" / "verdicts" / "README.md"): "methods/index.md"}
    targets |= {str(ROOT / "models" / "bge-small-leaf" / "README.md"): "bge-small-leaf.md"}
    targets |= {str(path): place for place, path in attachments().items()}
    targets |= {str(page): page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}

    def link(found: re.Match[str]) -> str:
        bang, text, target = found.groups()
        file, _, heading = target.partition("#")
        goal = Path(os.path.normpath(path.parent / file))
        page = targets.get(str(goal)) or targets.get(str(goal / "README.md"))
        if page is None:
            return text
        # Headings of the README are not those of the page that takes its place here.
        anchor = f"#{heading}" if heading and goal.suffix == ".md" and goal.name != "README.md" else ""
        return f"{bang}[{text}]({os.path.relpath(page, Path(address).parent)}{anchor})"

    return _LINK.sub(link, path.read_text(encoding="utf-8"))
