"""The training texts of the screen: sets of one size, written to files that `leafkit distill` reads as well.

Every set has 4,000 queries and 2,000 documents of at most 300 characters. ``plain`` are the first ones of the training
mix, with their sources. In ``labels``, 3,000 of the queries are labelled ones of Banking77. In ``pairs``, a part of the
queries are those of NFCorpus train, each with the id of a document that answers it, and these documents. ``plain``
exists in other sizes too, for LEAF's curve over texts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from eval.studies.table import TextSelection
from eval.studies.texts import StudyTexts, select_texts
from leafkit.errors import OptionError
from leafkit.evaluation.labelled_tables import read_table, split_file
from leafkit.files.atomic import write_file
from leafkit.texts.beir import read_corpus, read_qrels, read_queries

SIZE = 6000
LONGEST = 300
LABELLED = 3000
PAIRED = 1500
HELD_OUT, MEASURED = 200, 1000
"""How many held-out texts a training validates on, and how many the figures are measured on."""

_QUERIES_IN_THREE = 2

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TextSet:
    """A file of training texts, its SHA-256 and the number of its texts."""

    name: str
    file: Path
    sha256: str
    texts: int


@dataclass(frozen=True, kw_only=True)
class ScreenTexts:
    """The text sets of the screen, written below ``work`` from the folders ``train`` and ``bench`` of ``data``."""

    data: Path
    work: Path

    def open(self, name: str) -> TextSet:
        """Return the set ``name``: ``plain``, ``plain-NUMBER`` with that many texts, ``labels`` or ``pairs``.

        Raises `OptionError` for another name.
        """
        kind, _, count = name.partition("-")
        if kind == "plain" and (not count or count.isdecimal()):
            return self._plain(name, int(count or SIZE))
        makers = {"labels": self._with_labels, "pairs": self._with_pairs}
        if name not in makers:
            raise OptionError(f"text set {name!r}; expected plain, plain-NUMBER, labels or pairs.")
        return self._written(name, makers[name]())

    def held_out(self, texts: int) -> Path:
        """Return a file of the first ``texts`` held-out texts, half of them queries."""
        return self._selected(3, held_out=texts).valid

    def _plain(self, name: str, texts: int) -> TextSet:
        selected = self._selected(texts, held_out=HELD_OUT)
        facts = selected.facts["train"]
        return TextSet(name=name, file=selected.train, sha256=facts["sha256"], texts=selected.count)

    def _selected(self, texts: int, *, held_out: int) -> StudyTexts:
        train = self.data / "train"
        queries = texts * _QUERIES_IN_THREE // 3
        self.work.mkdir(parents=True, exist_ok=True)
        selection = TextSelection(
            files=tuple(map(str, sorted(train.glob("train-*.jsonl.gz")))),
            valid=(str(train / "valid.jsonl.gz"),),
            queries=queries,
            documents=texts - queries,
            longest=LONGEST,
            held_out=held_out,
        )
        return select_texts(selection, self.work)

    def _plain_rows(self) -> dict[str, list[Row]]:
        rows = [json.loads(line) for line in self.open("plain").file.read_text(encoding="utf-8").splitlines()]
        return {role: [row for row in rows if row["role"] == role] for role in ("query", "document")}

    def _with_labels(self) -> list[Row]:
        """Return labelled queries of Banking77 and plain texts; `labelled_split` says which rows those are."""
        table = read_table(split_file(self.data / "bench" / "banking77", "train"), {"text": str, "label": (str, int)})
        texts, labels, plain = table["text"], table["label"], self._plain_rows()
        labelled = [
            {"text": texts[row], "role": "query", "label": labels[row], "source": "banking77"}
            for row in labelled_split(len(texts))[0]
        ]
        return [*labelled, *_filled(plain, SIZE, queries=len(labelled), documents=0)]

    def _with_pairs(self) -> list[Row]:
        """Return queries of NFCorpus train, the best document of each, and plain texts."""
        folder = self.data / "bench" / "nfcorpus"
        judgements, queries = read_qrels(folder, "train"), read_queries(folder)
        documents = {text.id: text.full_text for text in read_corpus(folder)}
        rows: list[Row] = []
        chosen: dict[str, Row] = {}
        for query, judged in judgements.items():
            known = [document for document in judged if document in documents]
            if query not in queries or not known or len(queries[query]) > LONGEST:
                continue
            best = max(known, key=lambda document: (judged[document], document))
            rows.append({"_id": query, "text": queries[query], "role": "query", "source": "nfcorpus", "pair": best})
            text = shortened(documents[best], LONGEST)
            chosen[best] = {"_id": best, "text": text, "role": "document", "source": "nfcorpus"}
            if len(rows) == PAIRED:
                break
        filled = _filled(self._plain_rows(), SIZE, queries=len(rows), documents=len(chosen))
        return [*rows, *chosen.values(), *filled]

    def _written(self, name: str, rows: Sequence[Row]) -> TextSet:
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        sha256 = hashlib.sha256(content).hexdigest()
        file = self.work / f"{name}-{sha256[:12]}.jsonl"
        if not file.is_file():
            write_file(file, content)
        return TextSet(name=name, file=file, sha256=sha256, texts=len(rows))


def labelled_split(rows: int) -> tuple[list[int], list[int]]:
    """Return the rows of Banking77 train that the set ``labels`` trains on, and all others in a fixed random order."""
    order = numpy.random.default_rng(0).permutation(rows).tolist()
    return sorted(order[:LABELLED]), order[LABELLED:]


def shortened(text: str, longest: int) -> str:
    """Return ``text`` cut between two words, at most ``longest`` characters of it."""
    return text if len(text) <= longest else text[: longest + 1].rsplit(maxsplit=1)[0]


def _filled(plain: dict[str, list[Row]], size: int, *, queries: int, documents: int) -> list[Row]:
    """Return the first plain texts that make ``size`` texts of those given, two thirds of them queries."""
    wanted = size * _QUERIES_IN_THREE // 3
    return plain["query"][: wanted - queries] + plain["document"][: size - wanted - documents]
