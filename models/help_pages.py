"""Unpack the collection that ships with leafkit: 1,000 command-line help pages with real questions (CC BY 4.0)."""

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
    """The unpacked collection: a BEIR folder, two files of training texts, and the texts of the held-out queries.

    ``sentences`` is a file of the pages' sentences and ``dev_queries`` a file of the dev split's queries, one text a
    line. ``queries`` are the queries of the test split.
    """

    folder: Path
    sentences: Path
    dev_queries: Path
    queries: list[str]

    @property
    def texts(self) -> list[str]:
        """The training texts for `leafkit.distill`: pages, their sentences and the dev queries, but no test query."""
        return [f"document:{self.folder}", f"query:{self.sentences}", f"query:{self.dev_queries}"]


def write_help_pages(folder: Path) -> HelpPages:
    """Copy the collection into ``folder`` and write the training texts there.

    The pages' sentences serve as training queries, because a question has about as many words as the sentence that
    describes the same thing. The same works for any corpus with few real queries.
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
    # A page's sentence can have the same words as a held-out question about another page.
    held_out_words = {_words(query) for query in held_out}
    _write_lines(written.sentences, sorted(part for part in sentences if _words(part) not in held_out_words))
    _write_lines(written.dev_queries, [query["text"] for query in queries if query["_id"] in dev])
    return written


def write_page_vectors(pages: HelpPages, path: Path) -> Path:
    """Write the vectors of pages and held-out queries by bge-small-en-v1.5, as another program would; return ``path``.

    ``path`` is an .npy file with one row per text. A .jsonl file of the same name holds the texts and their roles.
    Neither has leafkit's metadata.
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
