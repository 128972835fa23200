"""Statements of WordNet's definitions: what makes them true, false or neither."""

import numpy

from eval.mechanism.statements import CLASSES, invented_words, wordnet_statements
from tests.eval.mechanism.test_texts import write_lines

WORDS = [
    f"{start}{end}" for start in ("bed", "flint", "marsh", "gran") for end in ("rock", "land", "stone", "hill", "er")
]


def write(folder):
    rows = [{"source": "wordnet", "text": f"{word}, other: meaning number {word} of all; more"} for word in WORDS]
    extra = [
        {"source": "wordnet", "text": "short: tiny"},
        {"source": "wordnet", "text": "Proper: the meaning of a name is left out"},
        {"source": "arxiv-title", "text": "another: text of another source that is long enough"},
    ]
    write_lines(folder / "train" / "train-00.jsonl.gz", rows + extra)


def test_true_statements_have_the_words_own_definition_and_others_do_not(tmp_path):
    write(tmp_path)
    made = wordnet_statements(12, tmp_path)
    pairs = [text.split(" means ") for text in made.texts]
    defined = [(word, meaning.removeprefix("meaning number ").removesuffix(" of all")) for word, meaning in pairs]
    by_class = {
        name: [pair for pair, label in zip(defined, made.labels, strict=True) if CLASSES[label] == name]
        for name in CLASSES
    }
    assert {name: len(found) for name, found in by_class.items()} == dict.fromkeys(CLASSES, 4)
    assert all(word == meaning for word, meaning in by_class["true"])
    assert all(word != meaning and word in WORDS for word, meaning in by_class["false"])
    assert not {word for word, _ in by_class["neither"]} & set(WORDS)
    meanings = [meaning for _, meaning in defined]
    words = [word for word, _ in by_class["true"] + by_class["false"]]
    assert len(set(meanings)) == len(meanings)
    assert len(set(words)) == len(words)
    assert not {word for word, _ in by_class["false"]} & set(meanings)


def test_statements_are_the_same_each_time(tmp_path):
    write(tmp_path)
    one, other = (wordnet_statements(9, tmp_path) for _ in range(2))
    assert one.texts == other.texts
    assert one.identity == other.identity != wordnet_statements(12, tmp_path).identity
    assert numpy.array_equal(one.labels, other.labels)


def test_invented_words_have_the_letter_pairs_of_real_ones():
    found = invented_words(WORDS, 5, set(WORDS))
    known = {word[place : place + 3] for word in WORDS for place in range(len(word) - 2)}
    assert len(set(found)) == 5
    assert not set(found) & set(WORDS)
    assert all(word[place : place + 3] in known for word in found for place in range(len(word) - 2))
