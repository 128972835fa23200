import json

import numpy
import pyarrow
import pytest
from pyarrow import parquet

import leafkit
from leafkit.errors import DamageError, InputError, OptionError, VectorError
from leafkit.teachers.embed import embed
from leafkit.teachers.open import open_teacher
from leafkit.texts.read import read_texts

TEXTS = ["one", "two", "three", "four"]


def unit(rows=4, dim=6, seed=0):
    vectors = numpy.random.default_rng(seed).normal(size=(rows, dim)).astype(numpy.float32)
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def write_parquet(path, texts, vectors, **columns):
    parquet.write_table(pyarrow.table({"text": texts, "vector": list(vectors), **columns}), path)
    return path


def write_npy(path, texts, vectors, roles=None):
    numpy.save(path, vectors)
    rows = [
        {"text": text, **({"role": role} if role else {})} for text, role in zip(texts, roles or [None] * len(texts))
    ]
    path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(params=["v.parquet", "v.npy"])
def write(request, tmp_path):
    """Write texts, vectors and optional roles to a vectors file of either format."""

    def write(texts, vectors, roles=None):
        if request.param == "v.npy":
            return write_npy(tmp_path / request.param, texts, numpy.asarray(vectors), roles)
        return write_parquet(tmp_path / request.param, texts, vectors, **({"role": roles} if roles else {}))

    return write


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_file_returns_its_vectors_in_any_order_and_for_both_roles(write, dtype):
    teacher = open_teacher(write(TEXTS, unit().astype(dtype)))
    for role in ("query", "document"):
        vectors = teacher.encode(["three", "one", "three"], role)
        assert vectors.dtype == numpy.float32
        assert abs(vectors - unit()[[2, 0, 2]]).max() < 1e-3
    assert len(teacher) == 4
    assert teacher.signals == {"embeddings"}
    assert teacher.encode([], "query").shape == (0, 6)


def test_texts_read_from_the_file_are_found(write):
    file = write([" one", "two\n", "three", "\tfour "], unit())
    texts = [text.full_text for text in read_texts(file if file.suffix == ".parquet" else file.with_suffix(".jsonl"))]
    teacher = open_teacher(file)
    assert numpy.array_equal(teacher.encode(texts, "document"), unit())
    assert numpy.array_equal(teacher.encode(["one ", " two"], "query"), unit()[:2])


def test_a_title_is_part_of_the_text(tmp_path):
    titles = ["A title", "", None, "Another "]
    write_parquet(tmp_path / "v.parquet", TEXTS, unit(), title=titles)
    write_npy(tmp_path / "v.npy", TEXTS, unit())
    rows = [{"text": text, "title": title} for text, title in zip(TEXTS, titles, strict=True)]
    (tmp_path / "v.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for file in (tmp_path / "v.parquet", tmp_path / "v.npy"):
        teacher = open_teacher(file)
        assert numpy.array_equal(teacher.encode(["A title one", "two", "three", "Another  four"], "document"), unit())
        with pytest.raises(VectorError, match="no vector for 1 of 1"):
            teacher.encode(["one"], "document")


def test_a_title_that_is_not_a_string_raises(tmp_path):
    file = write_parquet(tmp_path / "v.parquet", TEXTS, unit(), title=[1, 2, 3, 4])
    with pytest.raises(VectorError, match="the title of row 0 is 1; expected a string"):
        open_teacher(file)


def test_a_row_with_a_role_is_used_for_that_role_only(write):
    teacher = open_teacher(write(["one", "one", "two", "three"], unit(), ["query", "document", "query", None]))
    assert numpy.array_equal(teacher.encode(["one", "two", "three"], "query"), unit()[[0, 2, 3]])
    assert numpy.array_equal(teacher.encode(["one", "three"], "document"), unit()[[1, 3]])
    with pytest.raises(VectorError, match=r"no vector for 1 of 2 document texts\. The first is 'two'"):
        teacher.encode(["one", "two"], "document")


def test_missing_texts_are_counted_and_the_first_is_named(write):
    with pytest.raises(VectorError, match=r"no vector for 2 of 3 query texts\. The first is 'five'"):
        open_teacher(write(TEXTS, unit())).encode(["five", "one", "six"], "query")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: v * numpy.array([[1], [1], [numpy.nan], [1]], dtype="f4"), "row 2 contains NaN"),
        (lambda v: v * numpy.array([[1], [numpy.inf], [1], [1]], dtype="f4"), "row 1 contains NaN or infinity"),
        (lambda v: v * numpy.array([[1], [1], [1], [0]], dtype="f4"), "row 3 is all zeros"),
    ],
)
def test_invalid_vectors_raise_with_their_row(write, spoil, message):
    with pytest.raises(VectorError, match=message):
        open_teacher(write(TEXTS, spoil(unit())))


def test_a_repeated_text_raises_only_with_different_vectors(write):
    with pytest.raises(VectorError, match="rows 0 and 2 hold the same text with different vectors"):
        open_teacher(write(["one", "two", "one", "four"], unit()))
    teacher = open_teacher(write(["one", "two", "one", "four"], unit()[[0, 1, 0, 3]]))
    assert numpy.array_equal(teacher.encode(["one"], "query"), unit()[:1])


def test_fewer_vectors_than_texts_raise(tmp_path):
    with pytest.raises(VectorError, match=r"has 3 vectors, but v\.jsonl has 4 texts"):
        open_teacher(write_npy(tmp_path / "v.npy", TEXTS, unit(3)))


def test_vectors_of_two_widths_raise_with_their_row(tmp_path):
    with pytest.raises(VectorError, match="the vector of row 1 has the width 3; expected 2"):
        open_teacher(write_parquet(tmp_path / "v.parquet", ["a", "b"], [[1.0, 2.0], [1.0, 2.0, 3.0]]))


def test_a_missing_vector_or_component_raises(tmp_path):
    for vectors in ([[1.0, 2.0], None], [[1.0, 2.0], [1.0, None]]):
        with pytest.raises(VectorError, match=r"row 1 (has the width 0; expected 2|contains NaN)"):
            open_teacher(write_parquet(tmp_path / "v.parquet", ["a", "b"], vectors))


def test_all_list_types_of_arrow_are_read(tmp_path):
    for kind in (
        pyarrow.list_(pyarrow.float16(), 6),
        pyarrow.list_(pyarrow.float64()),
        pyarrow.large_list(pyarrow.float32()),
    ):
        column = pyarrow.array([row.tolist() for row in unit()], type=kind)
        parquet.write_table(pyarrow.table({"text": TEXTS, "vector": column}), tmp_path / "v.parquet")
        vectors = open_teacher(tmp_path / "v.parquet").encode(TEXTS, "query")
        assert abs(vectors - unit()).max() < 1e-3


def test_normalisation_is_measured_or_declared(write):
    assert open_teacher(write(TEXTS, unit())).space.normalised
    assert not open_teacher(write(TEXTS, unit()), normalised=False).space.normalised
    assert not open_teacher(write(TEXTS, 2 * unit())).space.normalised
    scaled = open_teacher(write(TEXTS, 2 * unit()), normalised=True)
    assert abs(scaled.encode(TEXTS, "query") - unit()).max() < 1e-6


def test_declared_options_are_recorded_in_the_space(write):
    path = write(TEXTS, unit())
    declared = {"query_prompt": "q: ", "document_prompt": "d: ", "max_length": 512, "pooling": "cls"}
    space = open_teacher(path, teacher_name="api/model", **declared).space
    assert {name: getattr(space, name) for name in declared} == declared
    assert (space.teacher, space.weights) == ("api/model", "name:api/model")


def test_the_space_depends_on_texts_and_vectors_of_the_file(write):
    one, again = (open_teacher(write(TEXTS, unit())).space for _ in range(2))
    assert one.id == again.id
    other = open_teacher(write(TEXTS, unit(seed=1))).space
    assert one.id != other.id
    renamed = open_teacher(write(["five", *TEXTS[1:]], unit())).space
    assert one.id != renamed.id


def test_options_of_a_computation_raise(write):
    with pytest.raises(OptionError, match="compute does not apply to a vectors file"):
        open_teacher(write(TEXTS, unit()), compute="float32")


def test_a_file_with_a_missing_column_raises_with_its_columns(tmp_path):
    parquet.write_table(pyarrow.table({"passage": TEXTS, "vector": list(unit())}), tmp_path / "v.parquet")
    with pytest.raises(VectorError, match=r"no column 'text' or 'content' or .* the columns \['passage', 'vector'\]"):
        open_teacher(tmp_path / "v.parquet")
    parquet.write_table(pyarrow.table({"text": TEXTS, "vector": TEXTS}), tmp_path / "v.parquet")
    with pytest.raises(VectorError, match="the column 'vector' has the type string; expected lists"):
        open_teacher(tmp_path / "v.parquet")


def test_of_several_vector_columns_the_one_with_numbers_is_used(tmp_path):
    columns = {"text": TEXTS, "vector": ["a", "b", "c", "d"], "embedding": list(unit())}
    parquet.write_table(pyarrow.table(columns), tmp_path / "v.parquet")
    assert numpy.array_equal(open_teacher(tmp_path / "v.parquet").encode(TEXTS, "document"), unit())


@pytest.mark.parametrize(("text", "vector"), [("content", "embedding"), ("body", "emb"), ("text", "embeddings")])
def test_columns_may_have_any_usual_name(tmp_path, text, vector):
    parquet.write_table(pyarrow.table({text: TEXTS, vector: list(unit()), "n": [1, 2, 3, 4]}), tmp_path / "v.parquet")
    assert numpy.array_equal(open_teacher(tmp_path / "v.parquet").encode(TEXTS, "document"), unit())


def test_a_folder_of_parquet_files_is_one_vectors_file(tmp_path):
    (tmp_path / "parts").mkdir()
    for part in (0, 1):
        rows = slice(2 * part, 2 * part + 2)
        write_parquet(tmp_path / "parts" / f"{part}.parquet", TEXTS[rows], unit()[rows])
    teacher = open_teacher(tmp_path / "parts")
    assert numpy.array_equal(teacher.encode(TEXTS, "document"), unit())
    assert (len(teacher), teacher.space.teacher) == (4, "parts")
    assert leafkit.info(tmp_path / "parts")["vectors"] == 4
    write_parquet(tmp_path / "parts" / "0.parquet", TEXTS[:2], unit(seed=1)[:2])
    assert open_teacher(tmp_path / "parts").space.id != teacher.space.id
    write_parquet(tmp_path / "parts" / "2.parquet", ["five"], unit(rows=1, dim=5))
    with pytest.raises(VectorError, match=r"2\.parquet: the vectors have the width 5; expected 6"):
        open_teacher(tmp_path / "parts")


def test_empty_and_hidden_files_of_spark_are_ignored(tmp_path):
    (tmp_path / "parts" / "more.parquet").mkdir(parents=True)
    write_parquet(tmp_path / "parts" / "a.parquet", TEXTS, unit())
    write_parquet(tmp_path / "parts" / "b.parquet", pyarrow.array([], pyarrow.string()), [])
    (tmp_path / "parts" / "._a.parquet").write_bytes(b"of a Mac")
    assert len(open_teacher(tmp_path / "parts")) == 4
    assert [text.full_text for text in read_texts(tmp_path / "parts")] == TEXTS
    (tmp_path / "parts" / "c.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(VectorError, match=r"c\.parquet is not a Parquet file"):
        open_teacher(tmp_path / "parts")


def test_an_error_names_the_file_and_its_row(tmp_path):
    (tmp_path / "parts").mkdir()
    write_parquet(tmp_path / "parts" / "a.parquet", TEXTS, unit())
    write_parquet(tmp_path / "parts" / "b.parquet", ["five", "two ", "three"], unit(rows=3, seed=1))
    with pytest.raises(
        VectorError, match=r"a\.parquet: row 1 and row 1 of .*b\.parquet hold the same .* \(1 more such rows"
    ):
        open_teacher(tmp_path / "parts")
    write_parquet(tmp_path / "parts" / "b.parquet", ["five", "six"], [[1.0] * 6, [numpy.nan] * 6])
    with pytest.raises(VectorError, match=r"b\.parquet: row 1 contains NaN"):
        open_teacher(tmp_path / "parts")


def test_files_of_two_precisions_are_read_in_the_higher(tmp_path):
    (tmp_path / "parts").mkdir()
    half = unit().astype(numpy.float16)
    write_parquet(tmp_path / "parts" / "a.parquet", TEXTS[:2], half[:2])
    write_parquet(tmp_path / "parts" / "b.parquet", TEXTS[2:], unit()[2:])
    teacher = open_teacher(tmp_path / "parts", normalised=False)
    assert numpy.array_equal(teacher.encode(TEXTS, "document"), numpy.concatenate([half[:2], unit()[2:]]))


def test_a_folder_with_vectors_of_two_spaces_raises(tmp_path, tiny_teacher):
    (tmp_path / "parts").mkdir()
    (tmp_path / "texts.txt").write_text("one\ntwo\n")
    embed(tmp_path / "texts.txt", tiny_teacher, tmp_path / "parts" / "a.parquet")
    embed(tmp_path / "texts.txt", tiny_teacher, tmp_path / "parts" / "b.parquet")
    assert open_teacher(tmp_path / "parts").space == open_teacher(tiny_teacher).space
    write_parquet(tmp_path / "parts" / "c.parquet", ["three"], unit(rows=1))
    with pytest.raises(InputError, match=r"c\.parquet and .*a\.parquet hold vectors of different spaces"):
        open_teacher(tmp_path / "parts")


def test_an_npy_file_without_texts_raises(tmp_path):
    numpy.save(tmp_path / "v.npy", unit())
    with pytest.raises(InputError, match=r"v\.npy has no texts: the file .*v\.jsonl is missing"):
        open_teacher(tmp_path / "v.npy")


def test_a_label_of_another_width_raises(write, tmp_path):
    path = write_npy(tmp_path / "v.npy", TEXTS, unit())
    space = open_teacher(path).space
    write_npy(path, TEXTS, unit(dim=5))
    path.with_suffix(".space.json").write_text(json.dumps(space.to_json()))
    with pytest.raises(DamageError, match="vectors of width 5, but records the width 6"):
        open_teacher(path)
