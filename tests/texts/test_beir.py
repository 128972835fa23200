"""Folders in BEIR layout are read as the loader of the package beir reads them."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path

import pyarrow
import pytest

from leafkit.texts.beir import is_beir, read_corpus, read_qrels, read_queries
from leafkit.texts.read import read_texts
from leafkit.texts.record import Text

CORPUS = [
    {"_id": "d1", "title": "Copy", "text": "Copy a file."},
    {"_id": "d2", "title": "", "text": "Move a \u201cfile\u201d.", "metadata": {"url": "x"}},
]
QUERIES = [{"_id": "q1", "text": "duplicate"}, {"_id": "q2", "text": "rename"}, {"_id": "q3", "text": "unjudged"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td2\t1\n"


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CORPUS))
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUERIES))
    (tmp_path / "qrels" / "test.tsv").write_text(QRELS)
    return tmp_path


def check_against_beir(folder: Path) -> None:
    """Compare all three readers with BEIR's loader, which keeps judged queries only."""
    loader = pytest.importorskip("beir.datasets.data_loader").GenericDataLoader
    corpus, queries, qrels = loader(data_folder=str(folder)).load(split="test")
    ours = {text.id: {"text": text.text, "title": text.title} for text in read_corpus(folder)}
    assert ours == corpus
    assert list(ours) == list(corpus)
    assert read_qrels(folder) == qrels
    all_queries = read_queries(folder)
    assert {query: all_queries[query] for query in qrels} == queries


def test_a_folder_is_read_like_beir_reads_it(folder):
    check_against_beir(folder)


@pytest.mark.parametrize("name", ["tldr-commands", "scifact"])
def test_real_folders_are_read_like_beir_reads_them(shared_data, tmp_path, name):
    (tmp_path / "qrels").mkdir()
    for part in ("corpus.jsonl", "queries.jsonl"):
        packed = shared_data / "bench" / name / f"{part}.gz"
        (tmp_path / part).write_bytes(gzip.decompress(packed.read_bytes()))
    (tmp_path / "qrels" / "test.tsv").write_bytes((shared_data / "bench" / name / "qrels" / "test.tsv").read_bytes())
    check_against_beir(tmp_path)
    assert list(read_corpus(tmp_path)) == list(read_corpus(shared_data / "bench" / name))


def test_compressed_files_give_the_same_texts(folder, tmp_path_factory):
    packed = tmp_path_factory.mktemp("packed")
    (packed / "qrels").mkdir()
    (packed / "corpus.jsonl.gz").write_bytes(gzip.compress((folder / "corpus.jsonl").read_bytes()))
    (packed / "queries.jsonl.gz").write_bytes(gzip.compress((folder / "queries.jsonl").read_bytes()))
    with pyarrow.CompressedOutputStream(str(packed / "qrels" / "test.tsv.zst"), "zstd") as file:
        file.write(QRELS.encode())
    assert is_beir(packed)
    assert list(read_corpus(packed)) == list(read_corpus(folder))
    assert read_queries(packed) == read_queries(folder)
    assert read_qrels(packed) == read_qrels(folder) == {"q1": {"d1": 2, "d2": 0}, "q2": {"d2": 1}}


def test_a_beir_folder_as_a_source_gives_its_corpus_as_documents(folder):
    assert list(read_texts(folder)) == list(read_corpus(folder))
    assert next(read_texts(folder)) == Text(id="d1", text="Copy a file.", title="Copy", role="document")
    assert {text.role for text in read_texts(f"query:{folder}")} == {"query"}


def test_a_folder_without_a_corpus_is_not_a_beir_folder(folder):
    assert is_beir(folder)
    assert is_beir(str(folder))
    assert not is_beir(folder / "qrels")


def test_judgements_of_unknown_queries_and_documents_are_kept(folder):
    (folder / "qrels" / "dev.tsv").write_text("score\tquery-id\tcorpus-id\n1\tq9\td9\n")
    assert read_qrels(folder, "dev") == {"q9": {"d9": 1}}


def test_bad_documents_are_skipped_and_counted_with_skip_bad(folder, caplog):
    with open(folder / "corpus.jsonl", "a") as file:
        file.write('{"_id": "d1", "text": "again"}\n{"_id": "d3", "text": ""}\n')
    with caplog.at_level(logging.WARNING, logger="leafkit"):
        assert [text.id for text in read_corpus(folder, skip_bad=True)] == ["d1", "d2"]
    assert "skipped 2 of 4 rows (1 id twice, 1 empty text)" in caplog.text
