"""Texts with id, role and payload, read from files, folders and hub datasets."""

from leafkit.texts.beir import is_beir, read_corpus, read_qrels, read_queries
from leafkit.texts.read import read_texts
from leafkit.texts.record import Text

__all__ = ["Text", "is_beir", "read_corpus", "read_qrels", "read_queries", "read_texts"]
