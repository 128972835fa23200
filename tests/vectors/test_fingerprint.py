"""Fingerprints: what they recognise, and that a changed file is never believed."""

import base64
import json

import numpy
import pytest

from leafkit.errors import DamageError
from leafkit.space import Space
from leafkit.vectors.fingerprint import FINGERPRINT, Fingerprint, read_fingerprint, take_fingerprint
from leafkit.vectors.golden_texts import GOLDEN

SPACE = Space(teacher="drawn", weights="name:drawn", dim=48, normalised=True, pooling="mean", max_length=64)


def drawn(texts=GOLDEN, seed=0, space=SPACE):
    rows = numpy.random.default_rng(seed).standard_normal((len(texts), space.dim))
    rows /= numpy.linalg.norm(rows, axis=1, keepdims=True)
    return Fingerprint(space=space, texts=tuple(texts), vectors=rows.astype(numpy.float32))


def changed(fingerprint, vectors):
    return Fingerprint(space=fingerprint.space, texts=fingerprint.texts, vectors=vectors.astype(numpy.float32))


@pytest.fixture
def saved(tmp_path):
    """A folder with a fingerprint."""
    drawn().save(tmp_path)
    return tmp_path


def test_what_is_read_is_what_was_written(saved):
    read = read_fingerprint(saved, SPACE)
    assert (read.space, read.texts) == (SPACE, GOLDEN)
    assert numpy.array_equal(read.vectors, drawn().vectors)
    stored = json.loads((saved / FINGERPRINT).read_bytes())
    assert numpy.array_equal(
        numpy.frombuffer(base64.b64decode(stored["vectors"]), "<f4").reshape(-1, stored["dim"]), read.vectors
    )


def test_a_folder_of_an_earlier_leafkit_has_none(tmp_path):
    assert read_fingerprint(tmp_path, SPACE) is None


@pytest.mark.parametrize("scale", [1e-4, 1e-3])
def test_rounding_is_recognised_whatever_the_order_of_the_texts(scale):
    known, random = drawn(), numpy.random.default_rng(1)
    order = random.permutation(len(GOLDEN))
    noise = scale * random.standard_normal(known.vectors.shape)
    other = drawn(texts=[GOLDEN[row] for row in order])
    agreement = known.agreement(changed(other, (known.vectors + noise)[order]))
    assert agreement.is_same_space
    assert agreement.count == len(GOLDEN)


def test_one_text_of_one_role_is_enough_to_tell_two_spaces_apart():
    known = drawn()
    for row, (text, role) in enumerate(GOLDEN):
        vectors = known.vectors.copy()
        vectors[row] += 0.1 * drawn(seed=1).vectors[row]
        agreement = known.agreement(changed(known, vectors))
        assert not agreement.is_same_space
        assert (agreement.text, agreement.role) == (text, role)
        assert f"for the {role} {text[:40]!r}"[:-1] in agreement.shortfall


def test_vectors_of_another_length_are_of_another_space():
    known = drawn()
    agreement = known.agreement(changed(known, 1.02 * known.vectors))
    assert agreement.cosine > 0.9999
    assert not agreement.is_same_space
    assert "least ratio of lengths 0.9804" in agreement.shortfall


def test_what_cannot_be_compared_is_not_compared():
    known, queries = drawn(), [pair for pair in GOLDEN if pair[1] == "query"]
    assert len(queries) >= 8
    assert known.agreement(drawn(queries)) is None  # no documents
    assert known.agreement(drawn(GOLDEN[:7])) is None
    assert known.agreement(drawn(space=Space(**{**vars(SPACE), "dim": 24}))) is None
    assert drawn(queries).agreement(drawn()).count == len(queries)


def test_the_encoder_is_asked_for_each_text_in_its_role(hash_teacher):
    teacher = hash_teacher()
    fingerprint = take_fingerprint(teacher)
    for (text, role), vector in zip(GOLDEN, fingerprint.vectors, strict=True):
        assert numpy.array_equal(teacher.encode([text], role)[0], vector)


def tampered(content, case):
    texts, vectors = content["texts"], base64.b64decode(content["vectors"])
    nan = numpy.frombuffer(vectors, "<f4").copy()
    nan[5] = numpy.nan
    return {
        "another vector": {"vectors": base64.b64encode(vectors[:-4] + b"\0\0\x80\x3f").decode()},
        "NaN": {"vectors": base64.b64encode(nan.tobytes()).decode()},
        "zeros": {"vectors": base64.b64encode(bytes(len(vectors))).decode()},
        "too short": {"vectors": base64.b64encode(vectors[:-4]).decode()},
        "not base64": {"vectors": "ä" + content["vectors"][1:]},
        "vectors of a number": {"vectors": 5},
        "another text": {"texts": [{**texts[0], "text": "another"}, *texts[1:]]},
        "a text twice": {"texts": [texts[1], *texts[1:]]},
        "no texts": {"texts": []},
        "a text that is a list": {"texts": [{**texts[0], "text": []}, *texts[1:]]},
        "a number as text": {"texts": [{**texts[0], "text": 1}, *texts[1:]]},
        "an unknown role": {"texts": [{**texts[0], "role": "passage"}, *texts[1:]]},
        "texts without end": {"texts": [{"role": "query", "text": str(n)} for n in range(2000)]},
        "a huge width": {"dim": 2**40, "space": Space(**{**vars(SPACE), "dim": 2**40}).to_json()},
        "a width that is text": {"dim": "48", "space": Space(**{**vars(SPACE), "dim": "48"}).to_json()},
        "another version": {"version": 2},
        "another space": {"space": Space(**{**vars(SPACE), "pooling": "cls"}).to_json()},
    }[case]


CASES = [
    *("another vector", "NaN", "zeros", "too short", "not base64", "vectors of a number", "another text"),
    *("a text twice", "no texts", "a text that is a list", "a number as text", "an unknown role", "texts without end"),
    *("a huge width", "a width that is text", "another version", "another space"),
]


@pytest.mark.parametrize("repaired", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_changed_file_is_damage_even_with_a_repaired_hash(saved, case, repaired):
    from leafkit.vectors import fingerprint

    content = json.loads((saved / FINGERPRINT).read_bytes())
    digest = content.pop("sha256")
    content |= tampered(content, case)
    if repaired:
        digest = fingerprint._digest(content)
    (saved / FINGERPRINT).write_text(json.dumps({**content, "sha256": digest}))
    if repaired and case in ("another vector", "another text"):  # what only the hash in the folder's list can tell
        assert read_fingerprint(saved, SPACE) is not None
        return
    with pytest.raises(DamageError, match=r"Copy (the folder|or write the file) again"):
        read_fingerprint(saved, SPACE)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{", b"\xff", b'{"format": "leafkit-fingerprint"}', b"[" * 9999]
)
def test_a_file_that_is_no_fingerprint_is_damage(tmp_path, content):
    (tmp_path / FINGERPRINT).write_bytes(content)
    with pytest.raises(DamageError, match=r"fingerprint\.json is not a fingerprint"):
        read_fingerprint(tmp_path, SPACE)


def test_a_fingerprint_of_another_space_is_damage(saved):
    with pytest.raises(DamageError, match="describes the space"):
        read_fingerprint(saved, Space(**{**vars(SPACE), "weights": "name:other"}))
