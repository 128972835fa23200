"""BM25 agrees with bm25s and with a value worked by hand, and a stranger's postings are damage, never a crash."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy
import pytest

from leafkit.errors import DamageError
from leafkit.files.arrays import save_array
from leafkit.files.open_files import OpenFiles
from leafkit.index.lexical import LexicalWriter
from leafkit.search.lexical import STOP_WORDS, TYPES, Lexical, LexicalFiles, words_of

ODD = [
    "Ünïcode STRASSE Straße",
    "snake_case x a1 3.14",
    "don't stop",
    "日本語 テキスト",
    "the a\u0301cute İstanbul",
    "e-mail@me.org",
]


def files_in(folder: Path) -> LexicalFiles:
    return LexicalFiles(**{part: folder / f"{part}.npy" for part in TYPES})


def written(folder: Path, texts: Sequence[str]) -> LexicalFiles:
    files = files_in(folder)
    with LexicalWriter(files) as writer:
        writer.add(texts)
        writer.finish()
    return files


def opened(files: LexicalFiles, rows: int, live: Sequence[bool] | None = None) -> Lexical:
    bits = None if live is None else numpy.packbits(live, bitorder="little")
    with OpenFiles(files.words.parent, follow_links=False) as found:
        return Lexical(files, found, rows=rows, live=bits)


def scores_of(lexical: Lexical, query: str) -> dict[int, float]:
    found = lexical.search(query, 10**9)
    return dict(zip(found.rows.tolist(), found.scores.tolist(), strict=True))


def drawn_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of 3 to 40 words, whose frequencies fall as those of real words do."""
    random = numpy.random.default_rng(seed)
    chances = 1 / numpy.arange(1, 301)
    return [
        " ".join(f"w{word}" for word in random.choice(300, random.integers(3, 40), p=chances / chances.sum()))
        for _ in range(count)
    ]


def test_a_score_worked_by_hand(tmp_path: Path) -> None:
    """Three documents of 2, 4 and 3 words; ``ant`` is in two of them, ``bee`` in one."""
    lexical = opened(written(tmp_path, ["ant bee", "the ant ant cow dog", "cow dog eel"]), 3)
    ant, bee = math.log(1 + 1.5 / 2.5), math.log(1 + 2.5 / 1.5)
    first = ant / (1 + 1.5 * (0.25 + 0.75 * 2 / 3)) + bee / (1 + 1.5 * (0.25 + 0.75 * 2 / 3))
    second = ant * 2 / (2 + 1.5 * (0.25 + 0.75 * 4 / 3))
    assert scores_of(lexical, "Ant, BEE?") == pytest.approx({0: first, 1: second}, rel=1e-6)
    assert scores_of(lexical, "the of fly") == {}


@pytest.mark.parametrize("query", ["w1 w7 w250", "w3 w3 w3 w9 the zz", "w299", "nothing shared"])
def test_scores_agree_with_bm25s(tmp_path: Path, query: str) -> None:
    bm25s = pytest.importorskip("bm25s")
    texts = [*drawn_texts(300), *ODD]
    rival = bm25s.BM25()
    rival.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    words = bm25s.tokenize([query], stopwords="en", return_ids=False, show_progress=False)[0]
    expected = rival.get_scores(words)
    ours = scores_of(opened(written(tmp_path, texts), len(texts)), query)
    assert ours == pytest.approx({row: score for row, score in enumerate(expected.tolist()) if score > 0}, rel=1e-5)


def test_words_are_those_of_bm25s() -> None:
    bm25s = pytest.importorskip("bm25s")
    assert set(bm25s.stopwords.STOPWORDS_EN) == STOP_WORDS
    for text in ODD:
        assert words_of(text) == bm25s.tokenize([text], stopwords="en", return_ids=False, show_progress=False)[0]


def test_only_allowed_rows_that_share_a_word_are_found_best_first(tmp_path: Path) -> None:
    texts = drawn_texts(200)
    lexical = opened(written(tmp_path, texts), 200)
    everything = lexical.search("w1 w2", 200)
    assert all(set(words_of(texts[row])) & {"w1", "w2"} for row in everything.rows.tolist())
    assert (numpy.diff(everything.scores) <= 0).all()
    allow = numpy.arange(0, 200, 3)
    some = lexical.search("w1 w2", 5, allow[::-1])
    kept = numpy.isin(everything.rows, allow)
    assert some.rows.tolist() == everything.rows[kept][:5].tolist()
    assert some.scores.tolist() == everything.scores[kept][:5].tolist()


def test_removed_rows_count_neither_as_hits_nor_in_the_statistics(tmp_path: Path) -> None:
    texts = drawn_texts(120)
    live = [row % 3 > 0 for row in range(120)]
    kept = [row for row in range(120) if live[row]]
    (tmp_path / "fresh").mkdir()
    fresh = scores_of(opened(written(tmp_path / "fresh", [texts[row] for row in kept]), len(kept)), "w1 w4 w30")
    old = scores_of(opened(written(tmp_path, texts), 120, live), "w1 w4 w30")
    assert old == {kept[row]: score for row, score in fresh.items()}


def test_no_documents_and_no_words_find_nothing(tmp_path: Path) -> None:
    assert scores_of(opened(written(tmp_path, []), 0), "ant") == {}
    assert scores_of(opened(written(tmp_path, ["", "the", "?"]), 3), "ant") == {}
    assert scores_of(opened(written(tmp_path, ["ant", "ant"]), 2, [False, False]), "ant") == {}


def changed(files: LexicalFiles, part: str, content: numpy.ndarray) -> None:
    save_array(getattr(files, part), content)


@pytest.mark.parametrize("part", TYPES)
@pytest.mark.parametrize("kind", ["type", "length", "shape"])
def test_arrays_that_do_not_belong_together_are_damage(tmp_path: Path, part: str, kind: str) -> None:
    files = written(tmp_path, drawn_texts(9))
    content = numpy.load(getattr(files, part))
    wrong = {"type": content.astype(numpy.float64), "length": content[:-1], "shape": content[None]}
    if (part, kind) == ("words", "length"):
        wrong["length"] = numpy.append(content, content[-1:])
    changed(files, part, wrong[kind])
    with pytest.raises(DamageError, match=r"does not match words\.npy, starts\.npy"):
        opened(files, 9)


@pytest.mark.parametrize(
    ("part", "content", "problem"),
    [
        ("postings", lambda old: old + 9, "names a document that does not exist"),
        ("postings", lambda old: old * 0 + (2**32 - 1), "names a document that does not exist"),
        ("starts", lambda old: old[::-1], "overlap or do not exist"),
        ("starts", lambda old: old - 5, "overlap or do not exist"),
        ("starts", lambda old: old * 2**40, "overlap or do not exist"),
        ("starts", lambda old: old + old[-1] - 1, "overlap or do not exist"),
        ("starts", lambda old: numpy.where(numpy.arange(len(old)) % 2, old[-1], 0), "overlap or do not exist"),
    ],
)
def test_postings_that_leafkit_cannot_have_written_are_damage(
    tmp_path: Path, part: str, content: object, problem: str
) -> None:
    files = written(tmp_path, drawn_texts(9))
    changed(files, part, content(numpy.load(getattr(files, part))))  # type: ignore[operator]
    lexical = opened(files, 9)
    with pytest.raises(DamageError, match=problem):
        lexical.search(" ".join(f"w{word}" for word in range(300)), 5)
    rows = numpy.arange(9)
    with LexicalWriter(files_in(tmp_path)) as writer, pytest.raises(DamageError, match=r"do not ascend|does not exist"):
        writer.copy(lexical, rows, rows >= 0)


def test_words_out_of_order_are_not_copied_by_an_update(tmp_path: Path) -> None:
    files = written(tmp_path, drawn_texts(9))
    changed(files, "words", numpy.load(files.words)[::-1])
    with pytest.raises(DamageError, match="do not ascend"):
        opened(files, 9).check()


@pytest.mark.parametrize("part", ["words", "counts", "lengths", "postings"])
def test_other_numbers_give_other_hits_and_no_error(tmp_path: Path, part: str) -> None:
    files = written(tmp_path, drawn_texts(9))
    changed(files, part, numpy.load(getattr(files, part)) * 0)
    found = opened(files, 9).search("w1 w2 w3", 5)
    assert numpy.isfinite(found.scores).all()
    assert set(found.rows.tolist()) <= set(range(9))
