from __future__ import annotations

import gzip
import json
import random
from types import SimpleNamespace

import numpy
import pytest

pytest.importorskip("mteb")

from mteb.types import PromptType

from leafkit.errors import InputError, OptionError, TextError
from leafkit.evaluation import mteb_model
from leafkit.evaluation.evaluate import evaluate
from leafkit.evaluation.grid import Cell
from leafkit.evaluation.metrics import METRICS
from leafkit.evaluation.modes import Retriever
from leafkit.evaluation.mteb_model import MtebModel, symmetric_role
from leafkit.evaluation.mteb_run import mean_scores
from leafkit.evaluation.mteb_tasks import find_task
from leafkit.space import Space


@pytest.fixture(scope="module")
def root(tmp_path_factory, beir_folder, sentences):
    """A folder of tasks: retrieval (tiny), STS (sts), classification (intents) and clustering (topics)."""
    root = beir_folder.parent
    draw = random.Random(1)
    pairs = []
    for text in sentences[:60]:
        kept = text.split()[: draw.randint(1, 6)]
        pairs.append({"sentence1": text, "sentence2": " ".join(kept), "score": len(kept)})
    write(root / "sts" / "test.jsonl.gz", pairs)
    labels = [
        {"text": f"{'git commit push' if i % 2 else 'image video audio'} {i}", "label": f"l{i % 2}"} for i in range(60)
    ]
    write(root / "intents" / "train.jsonl.gz", labels[:40])
    write(root / "intents" / "test.jsonl.gz", labels[40:])
    write(root / "topics" / "test.jsonl.gz", labels)
    return root


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def encoded(monkeypatch):
    """The prompt type of every call in which mteb requests vectors."""
    calls = []
    encode = mteb_model.MtebModel.encode

    def counting(self, inputs, *, prompt_type=None, **more):
        calls.append(None if prompt_type is None else prompt_type.value)
        return encode(self, inputs, prompt_type=prompt_type, **more)

    monkeypatch.setattr(mteb_model.MtebModel, "encode", counting)
    return calls


def test_mteb_and_leafkit_agree_on_the_same_folder(root, tiny_teacher, noisy_student):
    options = {
        "teacher": tiny_teacher,
        "student": noisy_student,
        "dims": [32, 8],
        "precisions": ["float32", "int8", "binary"],
    }
    ours = evaluate(root / "tiny", **options).rows
    theirs = evaluate(mteb="tiny", data_root=root, **options).rows
    assert len(ours) == len(theirs) == 18
    for own, other in zip(ours, theirs, strict=True):
        assert (own.mode, own.dim, own.precision) == (other.mode, other.dim, other.precision)
        assert tuple(other.metrics) == METRICS
        # mteb rounds to five digits and searches 1000 hits; leafkit searches one more for the query's own document.
        assert own.metrics == pytest.approx(other.metrics, abs=1.1e-5)
        assert own.retention == pytest.approx(other.retention, abs=1e-3)
        assert own.of_full == pytest.approx(other.of_full, abs=1e-3)
        assert (own.queries, own.documents) == (other.queries, other.documents)


def test_the_asymmetric_mode_encodes_each_side_once(root, tiny_teacher, noisy_student, encoded):
    evaluate(mteb="tiny", data_root=root, teacher=tiny_teacher, student=noisy_student, modes=["asymmetric"])
    assert sorted(encoded) == ["document", "query"]


def test_two_students_do_not_share_cached_results(root, tiny_teacher, exact_student, noisy_student):
    rows = [
        evaluate(mteb="tiny", data_root=root, student=student).rows[0] for student in (exact_student, noisy_student)
    ]
    assert rows[0].metrics != rows[1].metrics


def test_a_repeated_run_uses_cached_results_and_encodes_nothing(root, tiny_teacher, noisy_student, encoded):
    options = {"mteb": ["tiny", "sts"], "data_root": root, "teacher": tiny_teacher, "student": noisy_student}
    first = evaluate(**options)
    assert encoded
    encoded.clear()
    assert evaluate(**options).rows == first.rows
    assert encoded == []


@pytest.mark.parametrize("change", [{"dims": [8]}, {"precisions": ["int8"]}, {"modes": ["standard"]}, {"cache": "new"}])
def test_another_cell_mode_or_cache_is_measured_again(root, tiny_teacher, noisy_student, encoded, change, tmp_path):
    change = {"cache": tmp_path} if "cache" in change else change
    options = {"mteb": "tiny", "data_root": root, "student": noisy_student, "teacher": tiny_teacher}
    evaluate(**(options | {"modes": ["asymmetric"]}))
    encoded.clear()
    evaluate(**(options | {"modes": ["asymmetric"]} | change))
    assert encoded


def test_changed_data_of_the_same_name_is_measured_again(tmp_path, tiny_teacher, sentences, encoded):
    rows = [{"sentence1": text, "sentence2": text[:9], "score": i} for i, text in enumerate(sentences[:20])]
    write(tmp_path / "sts" / "test.jsonl.gz", rows)
    options = {"mteb": "sts", "data_root": tmp_path, "teacher": tiny_teacher}
    before = evaluate(**options)
    write(tmp_path / "sts" / "test.jsonl.gz", [row | {"score": -row["score"]} for row in rows])
    after = evaluate(**options)
    assert after.rows[0].metrics["cosine_spearman"] == pytest.approx(-before.rows[0].metrics["cosine_spearman"])
    assert len(encoded) == 4


def test_a_half_written_result_is_measured_again(root, tiny_teacher, encoded, tmp_path, caplog):
    options = {"mteb": "sts", "data_root": root, "teacher": tiny_teacher, "cache": tmp_path}
    first = evaluate(**options)
    (result,) = tmp_path.glob("mteb/results/**/sts.json")
    result.write_bytes(result.read_bytes()[:40])
    encoded.clear()
    assert evaluate(**options).rows == first.rows
    assert len(encoded) == 2
    assert "is damaged; measuring the task again" in caplog.text


def test_the_columns_of_a_table_decide_the_kind_of_task(root, tiny_teacher, exact_student):
    names = ["sts", "intents", "intents:clustering", "topics"]
    rows = evaluate(mteb=names, data_root=root, teacher=tiny_teacher, student=exact_student).rows
    found = {(row.data, row.mode): row for row in rows}
    assert len(rows) == 8
    for name, main, count in zip(
        names, ("cosine_spearman", "accuracy", "v_measure", "v_measure"), (60, 20, 20, 60), strict=True
    ):
        teacher, student = found[name, "teacher"], found[name, "standard"]
        assert (teacher.main, teacher.queries, teacher.documents) == (main, count, None)
        assert list(teacher.metrics) == [main]
        assert student.retention == pytest.approx(1, abs=0.05)
    assert found["intents", "teacher"].metrics["accuracy"] > 0.9


def test_clustering_does_not_depend_on_earlier_measurements(root, tiny_teacher, exact_student, tmp_path):
    options = {"mteb": "topics", "data_root": root, "student": exact_student}
    alone = evaluate(**options, cache=tmp_path / "a").rows[0]
    after = evaluate(**options, teacher=tiny_teacher, cache=tmp_path / "b").rows[1]
    assert alone.metrics == after.metrics


def test_a_task_without_sides_ignores_the_asymmetric_mode_and_precisions(root, tiny_teacher, exact_student, caplog):
    options = {"mteb": "sts", "data_root": root, "teacher": tiny_teacher, "student": exact_student}
    rows = evaluate(**options, dims=[32, 8], precisions=["int8"]).rows
    assert [(row.mode, row.dim, row.precision) for row in rows] == [
        ("teacher", 32, "float32"),
        ("standard", 32, "float32"),
        ("teacher", 8, "float32"),
        ("standard", 8, "float32"),
    ]
    assert evaluate(**options, modes=["asymmetric"]).rows == ()
    assert "the asymmetric mode does not apply" in caplog.text


@pytest.mark.parametrize(("prompts", "role"), [(("search: ", ""), "document"), (("query: ", "passage: "), "query")])
def test_texts_without_a_side_are_documents_unless_documents_have_a_prompt(prompts, role):
    space = Space(
        teacher="t",
        weights="name:t",
        dim=2,
        normalised=True,
        pooling="mean",
        max_length=None,
        query_prompt=prompts[0],
        document_prompt=prompts[1],
    )
    assert symmetric_role(space) == role


class Recording:
    """An encoder that records the texts and role of each call."""

    space = Space(teacher="t", weights="name:t", dim=2, normalised=True, pooling="mean", max_length=None)

    def __init__(self):
        self.calls = []

    def encode(self, texts, role):
        self.calls.append((texts, role))
        return numpy.ones((len(texts), 2), dtype=numpy.float32)


def test_each_prompt_type_has_its_encoder_and_role():
    queries, documents = Recording(), Recording()
    model = MtebModel(
        Retriever("asymmetric", "s", queries, documents, "0"), Cell(dim=2, precision="float32"), encoder="torch"
    )
    for prompt_type in (PromptType.query, PromptType.document, None):
        model.encode([{"text": ["a", "b"]}, {"text": ["c"]}], prompt_type=prompt_type)
    assert queries.calls == [(["a", "b", "c"], "query"), (["a", "b", "c"], "document")]
    assert documents.calls == [(["a", "b", "c"], "document")]


def test_scores_are_means_over_splits_and_subsets():
    subsets = {
        "test": [{"accuracy": 0.2, "f1": 1.0}, {"accuracy": 0.4, "f1": 1.0}],
        "dev": [{"accuracy": 0.9, "f1": 1}],
    }
    assert mean_scores(SimpleNamespace(scores=subsets), "accuracy") == {"accuracy": pytest.approx(0.5)}


def test_a_correlation_without_value_has_no_retention(tmp_path, tiny_teacher, exact_student, sentences):
    rows = [{"sentence1": text, "sentence2": text[:9], "score": 1} for text in sentences[:20]]
    write(tmp_path / "sts" / "test.jsonl.gz", rows)
    report = evaluate(mteb="sts", data_root=tmp_path, teacher=tiny_teacher, student=exact_student)
    assert all(numpy.isnan(row.metrics["cosine_spearman"]) for row in report.rows)
    assert [(row.retention, row.of_full) for row in report.rows] == [(None, None)] * 2


def test_the_case_of_a_tasks_name_does_not_matter(root):
    assert find_task("TINY", root, "test").metadata.name == "tiny"


def test_an_unknown_local_task_is_refused_with_the_nearest_name(root):
    with pytest.raises(OptionError, match=r"no folder for the task 'intent'. Did you mean intents\?"):
        find_task("intent", root, "test")


def test_an_unknown_kind_of_task_is_refused_with_the_known_ones(root):
    with pytest.raises(
        OptionError,
        match="unknown kind of task 'regression'; expected one of retrieval, sts",
    ):
        find_task("intents:regression", root, "test")


def test_a_data_root_that_is_a_file_is_refused(root):
    with pytest.raises(InputError, match="is not a folder; expected the parent folder of the tasks' folders"):
        find_task("tiny", root / "tiny" / "queries.jsonl", "test")


@pytest.mark.parametrize(("name", "split", "has"), [("tiny", "dev", "test"), ("intents", "dev", "test, train")])
def test_a_missing_split_is_refused_with_the_available_ones(root, name, split, has):
    with pytest.raises(OptionError, match=f"split {split!r}; expected one of: {has}"):
        find_task(name, root, split)


def test_a_table_with_other_columns_is_refused_with_the_expected_ones(tmp_path):
    write(tmp_path / "odd" / "test.jsonl.gz", [{"question": "a"}])
    with pytest.raises(OptionError, match="has the columns question; expected a folder in BEIR's layout, or a table"):
        find_task("odd", tmp_path, "test")


def test_an_invalid_row_is_named_by_file_and_line(tmp_path, tiny_teacher):
    rows = [{"sentence1": "a", "sentence2": "b", "score": 1}, {"sentence1": "a", "sentence2": "b", "score": "high"}]
    write(tmp_path / "sts" / "test.jsonl.gz", rows)
    with pytest.raises(TextError, match=r"test\.jsonl\.gz:2: score is 'high'; expected a whole number or a number"):
        evaluate(mteb="sts", data_root=tmp_path, teacher=tiny_teacher)


def test_an_unknown_mteb_task_is_refused_with_the_nearest_name(tiny_teacher):
    with pytest.raises(OptionError, match=r"mteb has no task 'Scifact2'. Did you mean SciFact"):
        evaluate(mteb="Scifact2", teacher=tiny_teacher)


def test_a_hub_task_without_network_is_refused_with_a_remedy(tiny_teacher):
    with pytest.raises(InputError, match=r"tried mteb/scifact on the hub .* offline .* --data-root"):
        evaluate(mteb="SciFact", teacher=tiny_teacher)
