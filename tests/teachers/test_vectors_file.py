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
    """Writes texts, vectors and perhaps roles as a file of either kind."""

    def write(texts, vectors, roles=None):
        if request.param == "v.npy":
            return write_npy(tmp_path / request.param, texts, numpy.asarray(vectors), roles)
        return write_parquet(tmp_path / request.param, texts, vectors, **({"role": roles} if roles else {}))

    return write


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_file_gives_back_its_vectors_in_any_order_and_both_roles(write, dtype):
    teacher = open_teacher(write(TEXTS, unit().astype(dtype)))
    for role in ("query", "document"):
        vectors = teacher.encode(["three", "one", "three"], role)
        assert vectors.dtype == numpy.float32
        assert abs(vectors - unit()[[2, 0, 2]]).max() < 1e-3
    assert len(teacher) == 4
    assert teacher.signals == {"embeddings"}
    assert teacher.encode([], "query").shape == (0, 6)


def test_texts_are_found_that_are_read_from_the_very_file(write):
    file = write([" one", "two\n", "three", "\tfour "], unit())
    texts = [text.full_text for text in read_texts(file if file.suffix == ".parquet" else file.with_suffix(".jsonl"))]
    teacher = open_teacher(file)
    assert numpy.array_equal(teacher.encode(texts, "document"), unit())
    assert numpy.array_equal(teacher.encode(["one ", " two"], "query"), unit()[:2])


def test_a_title_belongs_to_the_text_that_was_encoded(tmp_path):
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


def test_a_title_that_is_no_string_is_refused(tmp_path):
    file = write_parquet(tmp_path / "v.parquet", TEXTS, unit(), title=[1, 2, 3, 4])
    with pytest.raises(VectorError, match="row 0 has 1 as its title"):
        open_teacher(file)


def test_a_role_keeps_its_vectors_to_itself(write):
    teacher = open_teacher(write(["one", "one", "two", "three"], unit(), ["query", "document", "query", None]))
    assert numpy.array_equal(teacher.encode(["one", "two", "three"], "query"), unit()[[0, 2, 3]])
    assert numpy.array_equal(teacher.encode(["one", "three"], "document"), unit()[[1, 3]])
    with pytest.raises(VectorError, match="no vector for 1 of 2 document texts, the first is 'two'"):
        teacher.encode(["one", "two"], "document")


def test_a_text_that_the_file_lacks_is_named_and_counted(write):
    with pytest.raises(VectorError, match="no vector for 2 of 3 query texts, the first is 'five'"):
        open_teacher(write(TEXTS, unit())).encode(["five", "one", "six"], "query")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: v * numpy.array([[1], [1], [numpy.nan], [1]], dtype="f4"), "row 2 holds NaN"),
        (lambda v: v * numpy.array([[1], [numpy.inf], [1], [1]], dtype="f4"), "row 1 holds NaN or infinity"),
        (lambda v: v * numpy.array([[1], [1], [1], [0]], dtype="f4"), "row 3 is all zeros"),
    ],
)
def test_vectors_that_cannot_be_used_are_refused_by_row(write, spoil, message):
    with pytest.raises(VectorError, match=message):
        open_teacher(write(TEXTS, spoil(unit())))


def test_one_text_with_two_vectors_is_refused_and_with_one_vector_twice_is_not(write):
    with pytest.raises(VectorError, match="rows 0 and 2 hold one text with two vectors"):
        open_teacher(write(["one", "two", "one", "four"], unit()))
    teacher = open_teacher(write(["one", "two", "one", "four"], unit()[[0, 1, 0, 3]]))
    assert numpy.array_equal(teacher.encode(["one"], "query"), unit()[:1])


def test_fewer_vectors_than_texts_are_refused(tmp_path):
    with pytest.raises(VectorError, match="3 vectors for the 4 texts"):
        open_teacher(write_npy(tmp_path / "v.npy", TEXTS, unit(3)))


def test_vectors_of_two_widths_are_refused_by_row(tmp_path):
    with pytest.raises(VectorError, match="row 1 has a vector of width 3, wanted 2"):
        open_teacher(write_parquet(tmp_path / "v.parquet", ["a", "b"], [[1.0, 2.0], [1.0, 2.0, 3.0]]))


def test_a_missing_vector_or_number_is_refused(tmp_path):
    for vectors in ([[1.0, 2.0], None], [[1.0, 2.0], [1.0, None]]):
        with pytest.raises(VectorError, match="row 1"):
            open_teacher(write_parquet(tmp_path / "v.parquet", ["a", "b"], vectors))


def test_lists_of_fixed_width_and_large_lists_are_read_alike(tmp_path):
    for kind in (
        pyarrow.list_(pyarrow.float16(), 6),
        pyarrow.list_(pyarrow.float64()),
        pyarrow.large_list(pyarrow.float32()),
    ):
        column = pyarrow.array([row.tolist() for row in unit()], type=kind)
        parquet.write_table(pyarrow.table({"text": TEXTS, "vector": column}), tmp_path / "v.parquet")
        vectors = open_teacher(tmp_path / "v.parquet").encode(TEXTS, "query")
        assert abs(vectors - unit()).max() < 1e-3


def test_unit_norm_is_measured_or_declared(write):
    assert open_teacher(write(TEXTS, unit())).space.normalised
    assert not open_teacher(write(TEXTS, unit()), normalised=False).space.normalised
    assert not open_teacher(write(TEXTS, 2 * unit())).space.normalised
    scaled = open_teacher(write(TEXTS, 2 * unit()), normalised=True)
    assert abs(scaled.encode(TEXTS, "query") - unit()).max() < 1e-6


def test_what_is_declared_is_in_the_space(write):
    path = write(TEXTS, unit())
    declared = {"query_prompt": "q: ", "document_prompt": "d: ", "max_length": 512, "pooling": "cls"}
    space = open_teacher(path, teacher_name="api/model", **declared).space
    assert {name: getattr(space, name) for name in declared} == declared
    assert (space.teacher, space.weights) == ("api/model", "name:api/model")


def test_a_file_is_its_own_identity_unless_a_name_is_declared(write):
    one, again = (open_teacher(write(TEXTS, unit())).space for _ in range(2))
    assert one.id == again.id
    other = open_teacher(write(TEXTS, unit(seed=1))).space
    assert one.id != other.id
    renamed = open_teacher(write(["five", *TEXTS[1:]], unit())).space
    assert one.id != renamed.id


def test_options_of_a_computation_are_refused(write):
    with pytest.raises(OptionError, match="compute means nothing to a vectors file"):
        open_teacher(write(TEXTS, unit()), compute="float32")


def test_a_file_without_the_columns_names_them(tmp_path):
    parquet.write_table(pyarrow.table({"passage": TEXTS, "vector": list(unit())}), tmp_path / "v.parquet")
    with pytest.raises(VectorError, match=r"no column 'text' or 'content' or .*, it has \['passage', 'vector'\]"):
        open_teacher(tmp_path / "v.parquet")
    parquet.write_table(pyarrow.table({"text": TEXTS, "vector": TEXTS}), tmp_path / "v.parquet")
    with pytest.raises(VectorError, match="has string in its column 'vector', wanted lists"):
        open_teacher(tmp_path / "v.parquet")


def test_of_several_columns_with_such_names_the_one_with_numbers_is_taken(tmp_path):
    columns = {"text": TEXTS, "vector": ["a", "b", "c", "d"], "embedding": list(unit())}
    parquet.write_table(pyarrow.table(columns), tmp_path / "v.parquet")
    assert numpy.array_equal(open_teacher(tmp_path / "v.parquet").encode(TEXTS, "document"), unit())


@pytest.mark.parametrize(("text", "vector"), [("content", "embedding"), ("body", "emb"), ("text", "embeddings")])
def test_columns_go_by_their_usual_names(tmp_path, text, vector):
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
    with pytest.raises(VectorError, match=r"2\.parquet: got vectors of width 5, wanted 6"):
        open_teacher(tmp_path / "parts")


def test_what_else_spark_leaves_in_a_folder_is_passed_over(tmp_path):
    (tmp_path / "parts" / "more.parquet").mkdir(parents=True)
    write_parquet(tmp_path / "parts" / "a.parquet", TEXTS, unit())
    write_parquet(tmp_path / "parts" / "b.parquet", pyarrow.array([], pyarrow.string()), [])
    (tmp_path / "parts" / "._a.parquet").write_bytes(b"of a Mac")
    assert len(open_teacher(tmp_path / "parts")) == 4
    assert [text.full_text for text in read_texts(tmp_path / "parts")] == TEXTS
    (tmp_path / "parts" / "c.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(VectorError, match=r"c\.parquet is not a Parquet file"):
        open_teacher(tmp_path / "parts")


def test_an_error_names_the_part_and_its_row(tmp_path):
    (tmp_path / "parts").mkdir()
    write_parquet(tmp_path / "parts" / "a.parquet", TEXTS, unit())
    write_parquet(tmp_path / "parts" / "b.parquet", ["five", "two ", "three"], unit(rows=3, seed=1))
    with pytest.raises(VectorError, match=r"a\.parquet: row 1 and row 1 of .*b\.parquet hold one .* \(1 more rows"):
        open_teacher(tmp_path / "parts")
    write_parquet(tmp_path / "parts" / "b.parquet", ["five", "six"], [[1.0] * 6, [numpy.nan] * 6])
    with pytest.raises(VectorError, match=r"b\.parquet: row 1 holds NaN"):
        open_teacher(tmp_path / "parts")


def test_parts_of_two_precisions_keep_the_finer(tmp_path):
    (tmp_path / "parts").mkdir()
    half = unit().astype(numpy.float16)
    write_parquet(tmp_path / "parts" / "a.parquet", TEXTS[:2], half[:2])
    write_parquet(tmp_path / "parts" / "b.parquet", TEXTS[2:], unit()[2:])
    teacher = open_teacher(tmp_path / "parts", normalised=False)
    assert numpy.array_equal(teacher.encode(TEXTS, "document"), numpy.concatenate([half[:2], unit()[2:]]))


def test_a_folder_holds_vectors_of_one_space(tmp_path, tiny_teacher):
    (tmp_path / "parts").mkdir()
    (tmp_path / "texts.txt").write_text("one\ntwo\n")
    embed(tmp_path / "texts.txt", tiny_teacher, tmp_path / "parts" / "a.parquet")
    embed(tmp_path / "texts.txt", tiny_teacher, tmp_path / "parts" / "b.parquet")
    assert open_teacher(tmp_path / "parts").space == open_teacher(tiny_teacher).space
    write_parquet(tmp_path / "parts" / "c.parquet", ["three"], unit(rows=1))
    with pytest.raises(InputError, match=r"c\.parquet is of another space than .*a\.parquet"):
        open_teacher(tmp_path / "parts")


def test_an_npy_without_its_texts_asks_for_them(tmp_path):
    numpy.save(tmp_path / "v.npy", unit())
    with pytest.raises(InputError, match=r"no v\.jsonl beside it"):
        open_teacher(tmp_path / "v.npy")


def test_a_label_that_does_not_fit_the_vectors_is_damage(write, tmp_path):
    path = write_npy(tmp_path / "v.npy", TEXTS, unit())
    space = open_teacher(path).space
    write_npy(path, TEXTS, unit(dim=5))
    path.with_suffix(".space.json").write_text(json.dumps(space.to_json()))
    with pytest.raises(DamageError, match="width 5, its space says 6"):
        open_teacher(path)
