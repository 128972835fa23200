"""Several students in one index: what each is called, which one is the default, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

import leafkit
from leafkit.errors import DamageError, InputError, OptionError, SpaceError
from leafkit.files.digest import sha256_file
from leafkit.index.ladder import plan_ladder
from leafkit.search.manifest import Rung, read_manifest
from leafkit.search.query_encoder import QueryEncoder, digest
from leafkit.search.searcher import Searcher
from leafkit.students.folder import read_student
from tests.fixtures.packages import drawn_vectors, index_vectors, update_vectors

Draw = Callable[..., Path]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """A function that writes the export of a student whose graph has nothing but its softmaxes."""

    def write(name: str, layers: int, padding: int = 0) -> Path:
        nodes = [onnx.helper.make_node("Softmax", ["x"], [f"y{number}"]) for number in range(layers)]
        graph = onnx.helper.make_graph(nodes, "graph", [], [])
        (tmp_path / name / "onnx").mkdir(parents=True)
        file = tmp_path / name / "onnx" / "model.onnx"
        file.write_bytes(onnx.helper.make_model(graph, doc_string="x" * padding).SerializeToString())
        record = {"format": "leafkit-export", "version": 1, "max_length": None, "space": "drawn", "golden": []}
        record["files"] = {"onnx/model.onnx": sha256_file(file)}
        (tmp_path / name / "onnx" / "export.json").write_text(json.dumps({**record, "sha256": digest(record)}))
        return tmp_path / name

    return write


def test_students_are_named_and_ordered_by_their_layers(draw: Draw) -> None:
    six, table, two, three = draw("six", 6), draw("table", 0), draw("two", 2), draw("three", 3)
    rungs = plan_ladder([six, table, two, three])
    assert [(rung.effort, rung.student, rung.layers) for rung in rungs] == [
        ("table", table, 0),
        ("small", two, 2),
        ("medium", three, 3),
        ("full", six, 6),
    ]
    assert [rung.effort for rung in plan_ladder([two, table])] == ["table", "full"]


def test_a_real_table_and_a_real_transformer_are_told_apart(table_student: Path, exported: Path) -> None:
    rungs = plan_ladder([exported, table_student, "bge-small-leaf"])
    assert [(rung.effort, rung.layers) for rung in rungs] == [("table", 0), ("small", 2), ("full", 6)]


def test_an_only_student_is_full_and_no_graph_is_read(tmp_path: Path) -> None:
    for given in (tmp_path / "absent", [str(tmp_path / "absent")], f"full={tmp_path / 'absent'}"):
        (rung,) = plan_ladder(given)
        assert (rung.effort, rung.layers, str(rung.student)) == ("full", None, str(tmp_path / "absent"))
    assert plan_ladder(None) == plan_ladder([]) == []


def test_a_given_name_wins_and_full_is_the_last_whatever_its_size(draw: Draw) -> None:
    six, three, other = draw("six", 6), draw("three", 3), draw("other", 3, padding=99)
    assert [rung.effort for rung in plan_ladder([f"big={six}", f"full={three}", f"wide={other}"])] == [
        "wide",
        "big",
        "full",
    ]
    assert [rung.effort for rung in plan_ladder([f"wide={other}", f"thin={three}"])] == ["thin", "wide"]
    (only,) = plan_ladder(f"table={draw('zero', 0)}")
    assert (only.effort, only.layers) == ("table", 0)


def test_a_folder_with_an_equals_sign_in_its_name_is_a_folder(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = draw("lr=3", 2)
    monkeypatch.chdir(folder.parent)
    assert [(rung.effort, rung.student) for rung in plan_ladder(["lr=3", draw("table", 0)])][1] == ("full", "lr=3")


@pytest.mark.parametrize(
    ("students", "message"),
    [
        (["a", "b"], r"a and .*b would both be chosen by the effort full\. Name the effort"),
        (["x=a", "x=c"], "both be chosen by the effort x"),
        (["a", "teacher=c"], "'teacher', which is that of the teacher"),
        (["a", "Big One=c"], "'Big One', which is no name"),
        (["a"] * 17, "17 students are given; an index holds at most 16"),
    ],
)
def test_students_that_could_not_be_told_apart_are_refused(
    draw: Draw, students: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, layers in (("a", 2), ("b", 2), ("c", 0)):
        monkeypatch.chdir(draw(name, layers).parent)
    with pytest.raises(OptionError, match=message):
        plan_ladder(students)


def test_a_folded_index_has_one_student(exported: Path, table_student: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"no other can search it, but 2 students are given"):
        leafkit.build_index("docs", None, tmp_path / "i", student=[exported, table_student], fold=exported)


def test_the_best_student_is_the_default_and_all_are_hashed(
    ladder: Path, exported: Path, table_student: Path, sentences: list[str]
) -> None:
    manifest = read_manifest(ladder)
    assert manifest.rungs == (
        Rung("table", table_student.name, "encoder-table", 0),
        Rung("full", exported.name, "encoder", 2),
    )
    for folder in ("encoder", "encoder-table"):
        assert sum(name.startswith(f"{folder}/") for name in manifest.files) == 4
    best = QueryEncoder.open(exported).encode(sentences[:3])
    assert (Searcher.open(ladder).encoder.encode(sentences[:3], "query") == best).all()
    assert leafkit.info(ladder)["students"] == f"table ({table_student.name}, token table), full (student, 2 layers)"


def test_a_changed_byte_of_any_student_is_damage(ladder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(ladder, tmp_path / "copy")
    file = copy / "encoder-table" / "tokenizer.json"
    file.write_bytes(file.read_bytes().replace(b'"a"', b'"b"', 1))
    with pytest.raises(DamageError, match=r"encoder-table/tokenizer\.json"):
        Searcher.open(copy)


def test_an_update_keeps_all_students(ladder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(ladder, tmp_path / "copy")
    before = read_manifest(copy)
    update_vectors(copy, ids=["new"], vectors=drawn_vectors(1, 32), remove=["doc 3"], compact=True)
    after = Searcher.open(copy).manifest
    assert after.rungs == before.rungs
    assert {n: f for n, f in after.files.items() if "/" in n} == {n: f for n, f in before.files.items() if "/" in n}


def test_an_index_with_one_student_is_written_as_before(exported: Path, tmp_path: Path) -> None:
    index = index_vectors(["a"], drawn_vectors(1, 32), read_student(exported).space, tmp_path / "i", student=[exported])
    assert read_manifest(index).encoder == {"student": "student"}
    assert read_manifest(index).rungs == (Rung("full", "student", "encoder"),)
    assert leafkit.info(index)["students"] == "full (student)"


def test_each_student_is_checked_before_anything_is_written(exported: Path, tmp_path: Path) -> None:
    space, row = read_student(exported).space, drawn_vectors(1, 32)
    for other, error, message in (
        ("bge-small-leaf", SpaceError, "bge-small-leaf"),
        (str(tmp_path), InputError, "is not an exported student"),
    ):
        with pytest.raises(error, match=message):
            index_vectors(["a"], row, space, tmp_path / "i", student=[exported, f"big={other}"])
    assert not (tmp_path / "i").exists()
