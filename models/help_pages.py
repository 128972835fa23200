"""The collection that ships with leafkit: 1,000 command-line help pages with real questions (CC BY 4.0)."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from leafkit.texts.beir import read_corpus

_FILES = ("corpus.jsonl.gz", "queries.jsonl.gz", "qrels/dev.tsv", "qrels/test.tsv", "ATTRIBUTION.md")


@dataclass(frozen=True, kw_only=True)
class HelpPages:
    """Where the collection was written: a BEIR folder, and files of texts to distil with.

    ``queries`` are the held-out ones, for timing.
    """

    folder: Path
    sentences: Path
    dev_queries: Path
    queries: list[str]

    @property
    def texts(self) -> list[str]:
        """Sources for `leafkit.distill`: the pages, their sentences and the dev queries; no test query."""
        return [f"document:{self.folder}", f"query:{self.sentences}", f"query:{self.dev_queries}"]


def write_help_pages(folder: Path) -> HelpPages:
    """Copy the collection into ``folder`` and write what to train on beside it.

    A page's sentences stand in for queries: people ask for one thing, in about as many words as a page
    describes it. This is what to do wherever there are documents but few real queries.
    """
    for name in _FILES:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with resources.as_file(resources.files("leafkit.models") / "quickstart" / name) as source:
            shutil.copyfile(source, target)
    dev = {line.split("\t")[0] for line in (folder / "qrels" / "dev.tsv").read_text().splitlines()[1:]}
    queries = _read_rows(folder / "queries.jsonl.gz")
    held_out = [query["text"] for query in queries if query["_id"] not in dev]
    written = HelpPages(
        folder=folder,
        sentences=folder / "train-sentences.txt",
        dev_queries=folder / "train-queries.txt",
        queries=held_out,
    )
    pages = _read_rows(folder / "corpus.jsonl.gz")
    sentences = {part for page in pages for part in re.split(r"(?<=[.!?)])\s+", page["text"]) if len(part) > 12}
    # Some page may say of itself what a held-out question asks of another.
    secret = {_words(query) for query in held_out}
    _write_lines(written.sentences, sorted(part for part in sentences if _words(part) not in secret))
    _write_lines(written.dev_queries, [query["text"] for query in queries if query["_id"] in dev])
    return written


def write_embedded(pages: HelpPages, path: Path) -> Path:
    """The pages and held-out queries as bge-small-en-v1.5 embedded them: ``path`` (.npy) and a .jsonl beside it.

    They say nothing of leafkit's, as vectors that another program made would not.
    """
    documents = [{"text": page.full_text, "role": "document"} for page in read_corpus(pages.folder)]
    rows = [*documents, *({"text": query, "role": "query"} for query in pages.queries)]
    path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with resources.as_file(resources.files("leafkit.models") / "quickstart" / "bge-small.npy") as source:
        shutil.copyfile(source, path)
    return path


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.lower()))


def _read_rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{' '.join(line.split())}\n" for line in lines), encoding="utf-8")
