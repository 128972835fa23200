"""The quickstart's collection: complete, and without test questions among the training texts."""

import re

import pytest

from leafkit.models.help_pages import write_help_pages
from leafkit.texts.beir import read_corpus, read_qrels, read_queries


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return write_help_pages(tmp_path_factory.mktemp("help") / "help")


def plain(text):
    return re.sub(r"\W+", " ", text).strip().lower()


def test_each_of_a_thousand_pages_has_one_question(pages):
    dev, test = read_qrels(pages.folder, "dev"), read_qrels(pages.folder, "test")
    asked = [page for judged in (*dev.values(), *test.values()) for page in judged]
    assert len(set(asked)) == len(asked) == 1000
    assert {text.id for text in read_corpus(pages.folder)} == set(asked)
    assert set(read_queries(pages.folder)) == {*dev, *test}


def test_no_test_question_is_among_the_training_texts(pages):
    held_out = {plain(query) for query in pages.queries}
    assert len(held_out) == len(read_qrels(pages.folder, "test"))
    lines = [*pages.sentences.read_text().splitlines(), *pages.dev_queries.read_text().splitlines()]
    assert not held_out & {plain(line) for line in lines}


def test_pages_and_questions_equal_the_source(pages, shared_data):
    source = shared_data / "bench" / "tldr-commands"
    theirs = {page.id: page for page in read_corpus(source)}
    assert all(theirs[page.id] == page for page in read_corpus(pages.folder))
    assert read_queries(pages.folder).items() <= read_queries(source).items()
