"""Reading texts from files, folders and hub datasets, each text with an id, a role and the other columns of its row."""

from leafkit.texts.beir import is_beir, read_corpus, read_qrels, read_queries
from leafkit.texts.read import read_texts
from leafkit.texts.record import Text

__all__ = ["Text", "is_beir", "read_corpus", "read_qrels", "read_queries", "read_texts"]
