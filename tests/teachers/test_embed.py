import json

import numpy
import pytest
from pyarrow import parquet

import leafkit
from leafkit.errors import InputError, OptionError, OutputError, TextError
from leafkit.space import Space
from leafkit.teachers import embed as module
from leafkit.teachers.embed import embed
from leafkit.teachers.open import open_teacher
from leafkit.vectors import kept_columns as columns
from leafkit.vectors.store import VectorStore

OUTS = pytest.mark.parametrize("out", ["v.parquet", "v.npy"])


@pytest.fixture
def texts(tmp_path):
    """Texts of both roles and of no role, with one title and one repeated text."""
    rows = [{"_id": f"d{i}", "text": f"text {i}"} for i in range(40)]
    rows += [{"_id": "q1", "text": "text 1", "role": "query"}, {"_id": "again", "text": "text 1"}]
    rows += [{"_id": "titled", "title": "A title", "text": "with text"}]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def names(folder):
    return sorted(file.name for file in folder.iterdir())


@OUTS
@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_the_output_is_a_teacher_with_the_same_space_and_vectors(texts, tmp_path, hash_teacher, out, precision):
    teacher = hash_teacher()
    path = embed(texts, teacher, tmp_path / "out" / out, precision=precision)
    again = open_teacher(path)
    assert (again.space, again.space.id, again.approximate) == (teacher.space, teacher.space.id, False)
    assert len(again) == 43
    for role, expected in (("document", ["text 1", "A title with text", "text 7"]), ("query", ["text 1"])):
        difference = abs(again.encode(expected, role) - hash_teacher().encode(expected, role)).max()
        assert difference < (1e-3 if precision == "float16" else 1e-7)


@OUTS
def test_embedding_with_the_output_gives_an_equal_file(tiny_teacher, texts, tmp_path, out):
    first = embed(texts, tiny_teacher, tmp_path / out, precision="float32")
    assert open_teacher(first).space == open_teacher(tiny_teacher).space
    second = embed(texts, first, tmp_path / f"again-{out}", precision="float32")
    assert first.read_bytes() == second.read_bytes()


def test_parquet_has_id_text_role_and_vector_and_records_the_space_in_its_schema(texts, tmp_path, hash_teacher):
    teacher = hash_teacher()
    table = parquet.read_table(embed(texts, teacher, tmp_path / "v.parquet", precision="float32"))
    assert table.column_names == ["id", "title", "text", "role", "vector"]
    assert str(table.schema.field("vector").type) == "fixed_size_list<element: float>[8]"
    assert Space.from_json(json.loads(table.schema.metadata[b"leafkit.space"])) == teacher.space
    last = table.slice(40).to_pylist()
    assert [(row["id"], row["text"], row["role"]) for row in last] == [
        ("q1", "text 1", "query"),
        ("again", "text 1", "document"),
        ("titled", "with text", "document"),
    ]
    assert last[-1]["title"] == "A title"


def test_npy_is_a_plain_array_with_one_line_of_json_per_row(texts, tmp_path, hash_teacher):
    path = embed(texts, hash_teacher(), tmp_path / "v.npy", role="query")
    assert numpy.load(path, allow_pickle=False).shape == (43, 8)
    rows = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    assert rows[0] == {"id": "d0", "text": "text 0", "role": "query"}
    assert len(rows) == 43


@OUTS
def test_the_size_of_chunks_does_not_change_the_output(texts, tmp_path, hash_teacher, monkeypatch, out):
    whole = embed(texts, hash_teacher(), tmp_path / out)
    monkeypatch.setattr(module, "CHUNK", 7)
    parts = embed(texts, hash_teacher(), tmp_path / f"parts-{out}")
    expected = ["text 1", "text 39"]
    read = [open_teacher(path).encode(expected, "document") for path in (whole, parts)]
    assert numpy.array_equal(*read)


def test_a_stopped_run_continues_where_it_stopped(texts, tmp_path, hash_teacher, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 10)
    teacher = hash_teacher()
    encode = teacher.encode

    def stopped(texts, role):
        if len(teacher.encoded) >= 20:
            raise KeyboardInterrupt
        return encode(texts, role)

    teacher.encode = stopped
    with pytest.raises(KeyboardInterrupt):
        embed(texts, teacher, tmp_path / "v.parquet", cache=tmp_path / "cache")
    assert names(tmp_path) == ["cache", "texts.jsonl"]
    second = hash_teacher()
    embed(texts, second, tmp_path / "v.parquet", cache=tmp_path / "cache")
    assert len(second.encoded) == 42 - 20


def test_the_vectors_of_a_student_are_marked_as_approximate_and_not_cached(texts, tmp_path, hash_teacher):
    student = hash_teacher()
    student.approximate = True
    path = embed(texts, student, tmp_path / "v.parquet", cache=tmp_path / "cache")
    again = open_teacher(path)
    assert again.approximate
    assert again.space == student.space
    assert len(VectorStore.open(tmp_path / "cache", student.space)) == 0


@OUTS
def test_an_existing_output_is_replaced_only_with_overwrite(texts, tmp_path, hash_teacher, out):
    path = embed(texts, hash_teacher(), tmp_path / out)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="--overwrite"):
        embed(texts, hash_teacher(name="other"), path)
    assert path.read_bytes() == before
    other = hash_teacher(name="other")
    embed(texts, other, path, overwrite=True)
    assert open_teacher(path).space == other.space


def test_files_that_leafkit_did_not_write_are_never_replaced(texts, tmp_path, hash_teacher):
    (tmp_path / "v.parquet").write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"v\.parquet already exists and was not written by leafkit"):
        embed(texts, hash_teacher(), tmp_path / "v.parquet", overwrite=True)
    before = texts.read_bytes()
    with pytest.raises(OutputError, match=r"texts\.jsonl already exists and was not written by leafkit"):
        embed(texts, hash_teacher(), texts.with_suffix(".npy"), overwrite=True)
    assert texts.read_bytes() == before
    assert (tmp_path / "v.parquet").read_bytes() == b"precious"


@OUTS
def test_a_bad_row_leaves_no_output_without_skip_bad(texts, tmp_path, hash_teacher, out):
    with open(texts, "a") as file:
        file.write("{broken\n")
    with pytest.raises(TextError):
        embed(texts, hash_teacher(), tmp_path / out)
    assert names(tmp_path) == ["texts.jsonl"]
    assert len(open_teacher(embed(texts, hash_teacher(), tmp_path / out, skip_bad=True))) == 43


def test_invalid_options_raise_before_anything_is_encoded(texts, tmp_path, hash_teacher):
    teacher = hash_teacher()
    for options, error, message in (
        ({"out": tmp_path / "v.txt"}, InputError, r"v\.txt is not a vectors file; expected a \.parquet"),
        ({"precision": "int8"}, OptionError, "precision is 'int8'; expected one of float16, float32"),
        ({"role": "passage"}, OptionError, "role is 'passage'; expected one of query, document"),
    ):
        with pytest.raises(error, match=message):
            embed(**{"texts": texts, "encoder": teacher, "out": tmp_path / "v.parquet", **options})
    assert not teacher.encoded


KEPT = [
    {"_id": "a", "text": "one", "url": "https://x/1", "tags": ["x", "y"], "meta": {"lang": "en"}, "score": 1},
    {"_id": "b", "text": "two", "url": None, "meta": {"lang": "de", "size": 3}, "score": 0.5, "emb": [0.5, 1.0]},
]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@OUTS
def test_other_columns_are_kept_and_come_back_as_documents(tmp_path, hash_teacher, monkeypatch, out):
    from leafkit.texts.read import read_texts

    monkeypatch.setattr(columns, "CHUNK", 1)
    path = embed(write_rows(tmp_path / "texts.jsonl", KEPT), hash_teacher(), tmp_path / out)
    one, two = read_texts(path if out == "v.parquet" else path.with_suffix(".jsonl"))
    assert (one.id, one.text, one.payload["url"], one.payload["tags"]) == ("a", "one", "https://x/1", ["x", "y"])
    assert one.payload["meta"]["lang"] == "en"
    assert (two.payload["meta"], two.payload["score"]) == ({"lang": "de", "size": 3}, 0.5)
    assert "emb" not in two.payload


def test_an_index_of_the_file_returns_the_columns(tmp_path, hash_teacher):
    path = embed(write_rows(tmp_path / "texts.jsonl", KEPT), hash_teacher(), tmp_path / "v.parquet")
    index = leafkit.build_index(path, path, tmp_path / "index")
    hits = leafkit.Searcher.open(index).search(hash_teacher().encode(["one"], "document"), k=1)[0]
    assert hits.payload[0]["url"] == "https://x/1"


def test_columns_that_parquet_cannot_hold_are_written_as_text_and_names_of_the_file_are_left_out(
    tmp_path, hash_teacher, caplog
):
    rows = [
        {"id": "a", "text": "one", "year": 2020, "empty": {}, "vector": "none", "number": 1},
        {"id": "b", "text": "two", "year": "unknown", "empty": {}, "vector": "none", "number": [1]},
    ]
    path = embed(write_rows(tmp_path / "texts.jsonl", rows), hash_teacher(), tmp_path / "v.parquet")
    table = parquet.read_table(path).drop_columns(["vector"]).to_pylist()
    assert [row["year"] for row in table] == ["2020", "unknown"]
    assert [row["number"] for row in table] == ["1", "[1]"]
    assert {row["empty"] for row in table} == {"{}"}
    assert "left out the columns vector" in caplog.text
    assert "the columns year, empty, number hold values of several kinds" in caplog.text
    assert len(open_teacher(path)) == 2
