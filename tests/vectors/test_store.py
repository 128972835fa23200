import contextlib
import json
import random
from types import SimpleNamespace

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leafkit.errors import DamageError, OptionError, OutputError, SpaceError, VectorError
from leafkit.vectors import store as module
from leafkit.vectors.block_checks import BlockChecks
from leafkit.vectors.cached import cached
from leafkit.vectors.store import VectorStore, default_cache

TEXTS = ["b", "a", "b", "c", "a"]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    monkeypatch.setattr(module, "PIECE", 6)


def contents(store):
    return {name: (store.path / name).read_bytes() for name in ("keys.bin", "vectors.bin", "manifest.json")}


@settings(max_examples=25, deadline=None)
@given(
    calls=st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["", "a", "b", "cc", "dd", "eee", "fff", "gggg", "hhhhh", "iiiiiiiii"]),
                st.sampled_from(["query", "document"]),
            ),
            max_size=12,
        ),
        max_size=4,
    )
)
def test_each_text_is_encoded_once_and_read_back(hash_teacher, tmp_path_factory, calls):
    teacher = hash_teacher()
    root = tmp_path_factory.mktemp("store")
    for call in calls:
        store = VectorStore.open(root, teacher.space, dtype="float32")
        texts, roles = [text for text, _ in call], [role for _, role in call]
        rows = store.fill(teacher, texts, roles)
        assert numpy.array_equal(store.rows(texts, roles), rows)
        expected = [hash_teacher().encode([text], role)[0] for text, role in call]
        assert numpy.array_equal(store.gather(rows), numpy.array(expected).reshape(-1, 8))
        store.verify()
    assert len(teacher.encoded) == len(set(teacher.encoded))
    assert {(role, text) for call in calls for text, role in call} == set(teacher.encoded)


def test_the_progress_bar_moves_within_a_block(hash_teacher, tmp_path, monkeypatch):
    steps = []
    bar = contextlib.nullcontext(SimpleNamespace(update=steps.append))
    monkeypatch.setattr(module, "progress", lambda *_, **__: bar)
    VectorStore.open(tmp_path, hash_teacher().space).fill(hash_teacher(), ["a", "bbb", "cccc", "dd"], "document")
    assert steps == [1, 2, 1]  # pieces of at most six characters after padding: cccc; bbb and dd; a


def test_the_same_text_in_another_role_is_another_text(hash_teacher, tmp_path):
    teacher = hash_teacher()
    store = VectorStore.open(tmp_path, teacher.space)
    store.fill(teacher, TEXTS, "query")
    assert store.rows(TEXTS, "document").tolist() == [-1] * 5
    assert store.rows(TEXTS, "query").tolist() == [0, 1, 0, 2, 1]


def test_one_fill_and_many_small_ones_give_the_same_rows(hash_teacher, tmp_path):
    teacher = hash_teacher()
    texts = [f"text {i % 17}" for i in range(30)]
    whole = VectorStore.open(tmp_path / "whole", teacher.space)
    parts = VectorStore.open(tmp_path / "parts", teacher.space)
    for text in texts:
        parts.fill(teacher, [text], "query")
    assert numpy.array_equal(whole.fill(teacher, texts, "query"), parts.rows(texts, "query"))
    assert contents(whole)["vectors.bin"] == contents(parts)["vectors.bin"]


def test_float16_is_half_the_bytes_and_still_unit_norm(hash_teacher, tmp_path):
    teacher = hash_teacher()
    stores = {dtype: VectorStore.open(tmp_path, teacher.space, dtype=dtype) for dtype in ("float16", "float32")}
    exact, rounded = (stores[dtype].gather(stores[dtype].fill(teacher, TEXTS, "query")) for dtype in stores)
    assert abs(exact - rounded).max() < 1e-3
    assert abs(numpy.linalg.norm(exact, axis=1) - 1).max() < 1e-6
    assert len(contents(stores["float16"])["vectors.bin"]) * 2 == len(contents(stores["float32"])["vectors.bin"])


def test_vectors_of_a_space_that_is_not_normalised_keep_their_length(hash_teacher, tmp_path):
    teacher = hash_teacher(normalised=False)
    store = VectorStore.open(tmp_path, teacher.space)
    assert numpy.allclose(store.gather(store.fill(teacher, TEXTS, "query")), teacher.encode(TEXTS, "query"), rtol=1e-3)


def test_vectors_too_large_for_float16_raise_and_fit_in_float32(hash_teacher, tmp_path):
    teacher = hash_teacher(normalised=False)
    teacher.vector = lambda role, text: numpy.full(8, 1e5)
    with pytest.raises(VectorError, match=r"float32 holds larger numbers.*row 0 contains NaN or infinity"):
        VectorStore.open(tmp_path, teacher.space).fill(teacher, TEXTS, "query")
    assert len(VectorStore.open(tmp_path, teacher.space)) == 0
    store = VectorStore.open(tmp_path, teacher.space, dtype="float32")
    assert (store.gather(store.fill(teacher, TEXTS, "query")) == 1e5).all()


def test_each_space_has_its_own_folder_whatever_the_name_of_the_teacher(hash_teacher, tmp_path):
    one, two = hash_teacher(name="one"), hash_teacher(name="two")
    VectorStore.open(tmp_path, one.space).fill(one, TEXTS, "query")
    assert len(VectorStore.open(tmp_path, two.space)) == 0
    moved = hash_teacher(name="one")
    object.__setattr__(moved.space, "teacher", "moved/one")
    assert len(VectorStore.open(tmp_path, moved.space)) == 3
    with pytest.raises(SpaceError, match=r"the teacher does not belong to the vector space of the store .*: weights"):
        VectorStore.open(tmp_path, one.space).fill(two, TEXTS, "query")


def test_an_open_store_sees_the_texts_that_another_store_added(hash_teacher, tmp_path):
    one, two = hash_teacher(), hash_teacher()
    first, second = VectorStore.open(tmp_path, one.space), VectorStore.open(tmp_path, two.space)
    first.fill(one, TEXTS, "query")
    assert second.fill(two, [*TEXTS, "d"], "query").tolist() == [0, 1, 0, 2, 1, 3]
    assert two.encoded == [("query", "d")]


def test_rows_that_do_not_exist_raise(hash_teacher, tmp_path):
    store = VectorStore.open(tmp_path, hash_teacher().space)
    assert store.gather(numpy.empty(0, dtype=numpy.int64)).shape == (0, 8)
    store.fill(hash_teacher(), TEXTS, "query")
    for row in (-1, 3):
        with pytest.raises(VectorError, match="has 3 vectors; rows"):
            store.gather(numpy.array([0, row]))


def test_an_unknown_precision_raises(hash_teacher, tmp_path):
    with pytest.raises(OptionError, match="unknown precision 'int8' of teacher vectors"):
        VectorStore.open(tmp_path, hash_teacher().space, dtype="int8")


def test_the_environment_sets_the_default_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LEAFKIT_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("LEAFKIT_CACHE")
    assert default_cache().parts[-2:] == (".cache", "leafkit")


def test_a_cached_teacher_encodes_once_and_returns_the_vectors_of_the_store(hash_teacher, tmp_path):
    teacher = hash_teacher()
    first = cached(teacher, tmp_path).encode(TEXTS, "query")
    again = cached(teacher, tmp_path)
    assert numpy.array_equal(first, again.encode(TEXTS, "query"))
    assert len(teacher.encoded) == 3
    assert (again.space, again.signals) == (teacher.space, teacher.signals)
    assert cached(again, tmp_path) is again


def test_the_vectors_of_a_student_are_never_cached(hash_teacher, tmp_path):
    student = hash_teacher()
    student.approximate = True
    with pytest.raises(OptionError, match="cannot cache the vectors of a student"):
        cached(student, tmp_path)
    with pytest.raises(OptionError, match="cannot cache the vectors of a student"):
        VectorStore.open(tmp_path, student.space).fill(student, TEXTS, "query")


@pytest.mark.parametrize("file", ["keys.bin", "vectors.bin"])
def test_verify_names_the_block_of_any_changed_byte(hash_teacher, tmp_path, file):
    teacher = hash_teacher()
    store = VectorStore.open(tmp_path, teacher.space)
    store.fill(teacher, list("abcdefghij"), "query")
    whole = (store.path / file).read_bytes()
    width = len(whole) // 10
    for at in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[at] ^= 1
        (store.path / file).write_bytes(changed)
        with pytest.raises(DamageError, match=rf"{file}: block {at // (4 * width)} "):
            VectorStore.open(tmp_path, teacher.space).verify()
    (store.path / file).write_bytes(whole)
    store.verify()


@pytest.mark.parametrize("file", ["keys.bin", "vectors.bin"])
def test_opening_a_truncated_file_raises(hash_teacher, tmp_path, file):
    teacher = hash_teacher()
    store = VectorStore.open(tmp_path, teacher.space)
    store.fill(teacher, TEXTS, "query")
    whole = (store.path / file).read_bytes()
    for size in (len(whole) - 1, 0):
        (store.path / file).write_bytes(whole[:size])
        with pytest.raises(DamageError, match=f"{file} is truncated"):
            VectorStore.open(tmp_path, teacher.space)
    (store.path / file).unlink()
    with pytest.raises(DamageError, match=f"{file} is truncated: it has 0 bytes"):
        VectorStore.open(tmp_path, teacher.space)


def test_a_manifest_of_another_space_or_precision_raises(hash_teacher, tmp_path):
    one, two = hash_teacher(name="one"), hash_teacher(name="two")
    store = VectorStore.open(tmp_path, one.space)
    store.fill(one, TEXTS, "query")
    manifest = json.loads((store.path / "manifest.json").read_text())
    for change in ({"space": two.space.to_json()}, {"dtype": "float32"}, {"version": 2}, {"format": "else"}):
        (store.path / "manifest.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(DamageError, match=r"manifest\.json has format, version, dtype and space"):
            VectorStore.open(tmp_path, one.space)


@pytest.mark.parametrize("bad", [b"", b"{", b"[]", b"{}", b'"text"', b"\xff\xfe", b'{"space": 1, "blocks": []}'])
def test_an_invalid_manifest_raises(hash_teacher, tmp_path, bad):
    store = VectorStore.open(tmp_path, hash_teacher().space)
    store.path.mkdir()
    (store.path / "manifest.json").write_bytes(bad)
    with pytest.raises(DamageError, match=r"manifest\.json (is not a manifest of|does not describe a vector space)"):
        VectorStore.open(tmp_path, hash_teacher().space)


@pytest.mark.parametrize("bad", ["nan", "zero", "narrow", "few"])
def test_invalid_vectors_raise_and_earlier_blocks_stay(hash_teacher, tmp_path, bad):
    teacher = hash_teacher()
    store = VectorStore.open(tmp_path, teacher.space)
    store.fill(teacher, list("abcd"), "query")
    before = contents(store)
    spoil = {
        "nan": lambda vectors: vectors * numpy.nan,
        "zero": lambda vectors: vectors * 0,
        "narrow": lambda vectors: vectors[:, :-1],
        "few": lambda vectors: vectors[:-1],
    }[bad]
    teacher.encode = lambda texts, role: spoil(hash_teacher().encode(texts, role))
    with pytest.raises(VectorError, match="the teacher, query texts"):
        store.fill(teacher, list("efgh"), "query")
    assert contents(store) == before


def test_a_file_in_place_of_the_folder_is_an_output_error_before_anything_is_encoded(hash_teacher, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    teacher = hash_teacher()
    with pytest.raises(OutputError, match="is a file, not a folder"):
        VectorStore.open(tmp_path / "file", teacher.space).fill(teacher, ["a"], "query")
    assert not teacher.encoded


def test_a_store_that_is_only_opened_leaves_no_folder(hash_teacher, tmp_path):
    store = VectorStore.open(tmp_path / "cache", hash_teacher().space)
    assert store.rows(["a"], "query").tolist() == [-1]
    store.verify()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("file", ["keys.bin", "vectors.bin", "manifest.json"])
def test_a_changed_byte_never_gives_another_vector_or_row(hash_teacher, tmp_path, file):
    teacher, texts = hash_teacher(), list("abcdefghij")
    store = VectorStore.open(tmp_path, teacher.space)
    rows = store.fill(teacher, texts, "query")
    vectors, whole, draw = store.gather(rows), (store.path / file).read_bytes(), random.Random(0)
    refused = 0
    for _ in range(100):
        at, length = draw.randrange(len(whole)), draw.choice([1, 1, 4, 40])
        changed = bytearray(whole)
        changed[at : at + length] = draw.randbytes(len(changed[at : at + length]))
        (store.path / file).write_bytes(changed)
        try:
            opened = VectorStore.open(tmp_path, teacher.space)
            found = opened.rows(texts, "query")
            got = opened.gather(found[found >= 0])
        except DamageError:
            refused += 1
        else:
            assert numpy.array_equal(found, rows)
            assert numpy.array_equal(got, vectors)
    assert refused >= 80


def test_only_the_blocks_whose_rows_are_read_are_checked_and_only_once(hash_teacher, tmp_path, monkeypatch):
    teacher = hash_teacher()
    store = VectorStore.open(tmp_path, teacher.space)
    store.fill(teacher, list("abcdefghij"), "query")  # blocks of 4, 4 and 2 rows
    content = bytearray((store.path / "vectors.bin").read_bytes())
    content[5 * len(content) // 10] ^= 1
    (store.path / "vectors.bin").write_bytes(content)
    store = VectorStore.open(tmp_path, teacher.space)
    read = []
    sha256 = BlockChecks._sha256
    monkeypatch.setattr(BlockChecks, "_sha256", lambda self, number: [read.append(number), sha256(self, number)][1])
    for _ in range(2):
        assert len(store.gather(numpy.array([9, 0, 8]))) == 3
    assert read == [0, 2]
    for _ in range(2):
        with pytest.raises(DamageError, match=r"vectors\.bin: block 1 is damaged .* the teacher will encode"):
            store.gather(numpy.array([0, 5]))
    store.fill(teacher, ["k"], "query")
    read.clear()
    assert len(store.gather(numpy.array([0, 10]))) == 2
    assert read == [3]  # a block that another fill added is checked as well
