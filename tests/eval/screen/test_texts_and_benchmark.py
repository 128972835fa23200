"""The text sets have one size and no text of the tests; the benchmark is cut as it says."""

import gzip
import json

import numpy
import pytest

from eval.screen import benchmark, texts
from eval.screen.benchmark import DEV, TEST, encode_roles, read_benchmark, read_small
from eval.screen.figures import COSINE, NDCG, OVERLAP, calibration_error, figures_of, measure, overlaps
from eval.screen.texts import ScreenTexts, labelled_split, shortened
from leafkit.errors import OptionError
from leafkit.space import Space


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def beir(folder, queries, documents, splits):
    write(folder / "corpus.jsonl.gz", [{"_id": f"d{n}", "title": "", "text": text} for n, text in enumerate(documents)])
    write(folder / "queries.jsonl.gz", [{"_id": f"q{n}", "text": text} for n, text in enumerate(queries)])
    for split, judged in splits.items():
        lines = [f"q{query}\td{document}\t{relevance}" for query, document, relevance in judged]
        (folder / "qrels").mkdir(exist_ok=True)
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder like ../shared/data with a few texts of each kind."""
    root = tmp_path_factory.mktemp("data")
    mix = [
        {"text": f"{role} number {n}", "role": role, "source": "mix"}
        for n in range(60)
        for role in ("query", "document")
    ]
    write(root / "train" / "train-00.jsonl.gz", mix)
    held = [{"text": f"held out {role} {n}", "role": role} for n in range(10) for role in ("query", "document")]
    write(root / "train" / "valid.jsonl.gz", held)
    words = [f"word{n} thing{n % 7}" for n in range(30)]
    judged = [(n, n, 1) for n in range(10)] + [(0, 20, 2), (0, 21, 1), (0, 22, 0)]
    for name in benchmark.COLLECTIONS:
        splits = {TEST: judged, DEV: [(n, n, 1) for n in range(10, 16)], "train": [(n, n, 1) for n in range(16, 22)]}
        beir(root / "bench" / name, [f"find {word}" for word in words], words, splits)
    rated = [{"sentence1": f"a {n}", "sentence2": f"b {n}", "score": n / 2} for n in range(8)]
    for split in (DEV, TEST):
        write(root / "bench" / "stsb-en" / f"{split}.jsonl.gz", rated)
    for split in ("train", TEST):
        rows = [{"text": f"{split} {'card' if n % 2 else 'cash'} {n}", "label": f"c{n % 2}"} for n in range(40)]
        write(root / "bench" / "banking77" / f"{split}.jsonl.gz", rows)
    return root


@pytest.fixture
def small(monkeypatch, tmp_path, data):
    """The text sets of ``data`` at small sizes."""
    for name, value in {"SIZE": 12, "LABELLED": 6, "PAIRED": 3, "HELD_OUT": 8}.items():
        monkeypatch.setattr(texts, name, value)
    for name, value in {"QUERIES": {DEV: 2, TEST: 4}, "DOCUMENTS": 15, "JUDGED": 2, "PAIRS": {DEV: 4, TEST: 6}}.items():
        monkeypatch.setattr(benchmark, name, value)
    monkeypatch.setattr(benchmark, "FITTED", 10)
    monkeypatch.setattr(benchmark, "CLASSIFIED", {DEV: 6, TEST: 8})
    monkeypatch.setattr(benchmark, "MEASURED", 14)
    return ScreenTexts(data=data, work=tmp_path / "texts")


def rows_of(one):
    return [json.loads(line) for line in one.file.read_text().splitlines()]


@pytest.mark.parametrize("name", ["plain", "labels", "pairs"])
def test_every_set_has_the_same_size_and_two_queries_in_three(small, name):
    one = small.open(name)
    roles = [row["role"] for row in rows_of(one)]
    assert (one.texts, len(roles), roles.count("query")) == (12, 12, 8)
    assert small.open(name) == one


def test_a_part_of_the_labelled_set_has_labels_and_none_is_a_text_of_the_benchmark(small):
    rows = rows_of(small.open("labels"))
    labelled = {row["text"] for row in rows if "label" in row}
    measured = read_benchmark(small)
    assert len(labelled) == 6
    for part in (measured.fitted, *measured.labelled.values()):
        assert not labelled & set(part.texts)
    assert not set(measured.fitted.texts) & set(measured.labelled[DEV].texts)


def test_every_pair_names_a_document_of_the_set(small):
    rows = rows_of(small.open("pairs"))
    documents = {row.get("_id") for row in rows if row["role"] == "document"}
    pairs = [row["pair"] for row in rows if "pair" in row]
    assert len(pairs) == 3
    assert set(pairs) <= documents


def test_a_plain_set_of_another_size_starts_with_the_same_texts(small):
    less, more = rows_of(small.open("plain-6")), rows_of(small.open("plain"))
    queries = [[row["text"] for row in rows if row["role"] == "query"] for rows in (less, more)]
    assert queries[1][: len(queries[0])] == queries[0]
    with pytest.raises(OptionError, match="text set 'some'; expected plain"):
        small.open("some")


def test_a_text_is_cut_between_words():
    assert shortened("one two three", 9) == "one two"
    assert shortened("one two three", 13) == "one two three"
    assert shortened("one", 9) == "one"


def test_the_rows_of_the_labelled_set_are_a_fixed_part():
    inside, outside = labelled_split(5000)
    assert len(inside) == texts.LABELLED
    assert sorted([*inside, *outside]) == list(range(5000))


def test_a_collection_is_cut_to_its_queries_and_their_most_relevant_documents(small, data):
    one = read_small(data / "bench" / "nfcorpus", DEV)
    assert {split: len(part.queries) for split, part in one.parts.items()} == {TEST: 4, DEV: 2}
    assert len(one.documents) == 15
    for part in one.parts.values():
        assert all(set(judged) <= set(part.document_ids) for judged in part.judgements.values())
        assert all(len(judged) <= 2 and min(judged.values()) > 0 for judged in part.judgements.values())


def test_the_dev_queries_of_a_test_split_are_not_its_test_queries(small, data):
    one = read_small(data / "bench" / "arguana", TEST)
    assert not set(one.parts[TEST].query_ids) & set(one.parts[DEV].query_ids)


class Encoder:
    """Vectors of character counts, with noise that depends on the text."""

    space = Space(teacher="counts", weights="none", dim=32, normalised=True, pooling="mean", max_length=None)

    def __init__(self, noise=0.0):
        self.noise = noise

    def encode(self, wanted, role):
        rows = []
        for text in wanted:
            seed = sum(map(ord, text)) + len(text)
            counts = numpy.bincount([ord(letter) % 32 for letter in text], minlength=32).astype(numpy.float32)
            rows.append(counts + self.noise * numpy.random.default_rng(seed).standard_normal(32))
        vectors = numpy.array(rows, dtype=numpy.float32)
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_teacher_as_student_is_perfect_and_noise_is_not(small):
    data = read_benchmark(small)
    perfect, noisy = (measure(Encoder(noise), Encoder(), data) for noise in (0.0, 2.0))
    assert min(perfect[COSINE][TEST]) == min(perfect[OVERLAP][TEST]) == 1
    assert numpy.mean(noisy[COSINE][TEST]) < 0.95
    assert numpy.mean(noisy[OVERLAP][TEST]) < 1
    for name in benchmark.COLLECTIONS:
        assert {split: len(values) for split, values in noisy[f"{NDCG}{name}"].items()} == {TEST: 4, DEV: 2}
    parts = {part for figure in figures_of(data, TEST) for part in figure.parts}
    assert parts == set(noisy)


def test_texts_are_encoded_in_their_roles_and_stay_in_order():
    class ByRole(Encoder):
        def encode(self, wanted, role):
            return super().encode([f"{role} {text}" for text in wanted], role)

    mixed = [("a", "query"), ("b", "document"), ("c", "query")]
    found = encode_roles(ByRole(), mixed)
    assert found == pytest.approx(Encoder().encode(["query a", "document b", "query c"], "query"))


def test_overlaps_are_those_of_a_full_sort():
    draw = numpy.random.default_rng(0)
    one, other = draw.standard_normal((2, 30, 6)).astype(numpy.float32)
    units = [side / numpy.linalg.norm(side, axis=1, keepdims=True) for side in (one, other)]
    orders = [numpy.argsort(-(side @ side.T) + 9 * numpy.eye(30), axis=1)[:, :5] for side in units]
    expected = [len(set(a) & set(b)) / 5 for a, b in zip(*orders)]
    assert overlaps(one, other, 5).tolist() == pytest.approx(expected)


def test_the_calibration_error_by_hand():
    # Two of confidence 0.95, one right: off by 0.45. Two of 0.55, both right: off by 0.45. Each bin has half the texts.
    scores = numpy.array([[0.95, -0.95, 0.55, 0.55]])
    assert calibration_error(scores, numpy.ones((1, 4)))[0, 0] == pytest.approx(0.45)
    assert calibration_error(scores, numpy.array([[0.0, 0.0, 1.0, 1.0]]))[0, 0] == pytest.approx(0.45)
    assert calibration_error(numpy.array([[1.0, 1.0]]), numpy.ones((1, 2)))[0, 0] == 0
