"""A student learns from the texts and vectors that an engine holds: what leafkit pushed, and tables of others."""

import itertools

import numpy
import pytest

import leafkit
from leafkit.engines import pairs
from leafkit.engines.foreign import Row
from leafkit.engines.open import ADAPTERS
from leafkit.errors import EngineError, OptionError, SpaceError, VectorError
from leafkit.index.push import push_index
from leafkit.teachers.engine import file_of, read_engine
from leafkit.teachers.open import open_teacher
from tests.fixtures.engines import TABLES, MemoryEngine
from tests.fixtures.packages import index_vectors

NUMBERS = itertools.count()
FOREIGN = "postgresql://me:secret@host/db#shop.docs?text=body&vector=emb%20ed&id=key"


@pytest.fixture
def pushed(monkeypatch, sentences, tiny_teacher, tmp_path):
    """The address of an engine in memory that holds an index of sixty sentences."""
    monkeypatch.setitem(ADAPTERS, "postgresql", lambda url, timeout: TABLES.setdefault(url.name, MemoryEngine()))
    (tmp_path / "docs.txt").write_text("\n".join(sentences[:60]))
    leafkit.build_index(tmp_path / "docs.txt", str(tiny_teacher), tmp_path / "docs.index")
    address = f"postgresql://me:secret@host/db#taught{next(NUMBERS)}"
    push_index(tmp_path / "docs.index", address)
    return address


@pytest.fixture
def foreign(monkeypatch):
    """A function that lets a foreign table hold batches of rows."""

    def hold(*batches):
        def read(url, timeout, columns, size):
            assert (url.name, columns) == ("shop.docs", {"text": "body", "vector": "emb ed", "id": "key"})
            yield from batches

        monkeypatch.setitem(pairs.READERS, "postgresql", read)

    return hold


def row(key, text, vector, title=None):
    return Row(key, text, title, vector)


def test_what_leafkit_pushed_is_a_teacher_of_its_space(pushed, sentences, tiny_teacher):
    model, teacher = open_teacher(str(tiny_teacher)), open_teacher(pushed)
    assert teacher.space == model.space
    expected = model.encode(sentences[:60], "document")
    numpy.testing.assert_allclose(teacher.encode(sentences[:60], "document"), expected, atol=1e-3)  # float16 in a cache
    assert not teacher.holds(sentences[:60], "query").any()


def test_a_student_is_distilled_from_an_engine_alone(pushed, tiny_teacher, tmp_path):
    student = leafkit.distill(None, pushed, f"{tiny_teacher}:layers=1", tmp_path / "student", epochs=1, export=False)
    assert student.space == open_teacher(str(tiny_teacher)).space
    assert "secret" not in "".join(path.read_text() for path in (tmp_path / "student").glob("*.json"))
    with pytest.raises(OptionError, match="no texts are given"):
        leafkit.distill(None, str(tiny_teacher), "teacher:layers=1", tmp_path / "other")


def test_the_same_rows_give_the_same_file_and_the_same_identity(foreign):
    rows = [row(1, "a text", [3.0, 4.0]), row(2, "another", [0.0, 2.0])]
    foreign(rows[:1], rows[1:])
    first = read_engine(FOREIGN)
    content, space = first.read_bytes(), open_teacher(FOREIGN).space
    assert first == file_of(FOREIGN)
    assert (first.read_bytes(), open_teacher(FOREIGN).space) == (content, space)
    assert (space.dim, space.normalised) == (2, False)
    assert space.weights.startswith("sha256:")
    assert "secret" not in str(first)


def test_a_foreign_table_is_read_by_the_names_of_its_columns(foreign):
    foreign([row(1, " a ", [1, 0]), row(2, None, [1, 0]), row(3, "b", None)], [row(4, "d", (0.5, 0.5), title="t")])
    teacher = open_teacher(FOREIGN, teacher_name="openai/text-embedding-3-small")
    assert len(teacher) == 2
    assert teacher.space.weights == "name:openai/text-embedding-3-small"
    for role in ("query", "document"):
        numpy.testing.assert_array_equal(teacher.encode(["a", "t d"], role), [[1, 0], [0.5, 0.5]])
    ids = [text.id for text in leafkit.read_texts(file_of(FOREIGN))]
    assert ids == ["1", "4"]


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (
            [[row(1, "a", [1, 0])], [row(2, "b", [1, 0, 0])]],
            r"\*\*\*@host/db#shop.docs holds vectors of 2 and of 3 comp",
        ),
        ([[row(1, "a", [float("nan"), 0])]], "NaN or infinity"),
        ([[row(1, "a", [1, 0]), row(2, "b", [0, 0])]], "row 1 is all zeros"),
        ([[row(1, "a", "oops")]], "a vector is str; expected numbers"),
        ([[row(1, "a", [[1]])]], "expected one row of numbers"),
        ([[row(1, None, [1])]], "holds no text with a vector"),
        ([], "holds no text with a vector"),
    ],
)
def test_rows_that_teach_nothing_are_named_and_leave_no_file(foreign, batches, message):
    foreign(*batches)
    with pytest.raises(VectorError, match=message):
        read_engine(FOREIGN)
    assert not file_of(FOREIGN).parent.exists() or not list(file_of(FOREIGN).parent.iterdir())


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("text=a", "needs the names of its columns"),
        ("text=a&vector=", "needs the names of its columns"),
        ("text", "needs the names of its columns"),
        ("text=a&vectors=b", "'vectors'; did you mean 'vector'"),
    ],
)
def test_wrong_names_of_columns_say_how_they_are_written(query, message):
    with pytest.raises(OptionError, match=message):
        open_teacher(f"postgresql://me:secret@host/db#docs?{query}")


def test_every_engine_has_a_reader_of_foreign_tables():
    assert set(pairs.READERS) == set(ADAPTERS)


def test_what_is_missing_or_truncated_is_refused(pushed, tmp_path, monkeypatch):
    with pytest.raises(EngineError, match=r"does not exist. Write it with: leafkit push"):
        open_teacher("postgresql://me:secret@host/db#nothing")
    space = open_teacher(pushed).space
    vectors = numpy.eye(3, space.dim, dtype=numpy.float32)
    narrow = index_vectors(["a", "b", "c"], vectors, space, tmp_path / "narrow.index", dim=4)
    push_index(narrow, "postgresql://host/db#narrow")
    with pytest.raises(VectorError, match=rf"only the first 4 of {space.dim} components"):
        open_teacher("postgresql://host/db#narrow")
    with pytest.raises(SpaceError, match="has vectors of width 32; expected 384"):
        open_teacher(pushed, teacher_space="bge-small-leaf")
