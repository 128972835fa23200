"""Each task scores its items as the rest of leafkit would, and reads what it says it reads."""

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.evaluation.compare.statistics import figures
from leafkit.evaluation.compare.tasks import TASKS, open_task
from leafkit.evaluation.evaluate import evaluate
from leafkit.students.encoder import open_student
from leafkit.teachers.open import open_teacher


@pytest.fixture(scope="module")
def sides(noisy_student, tiny_teacher):
    return open_student(noisy_student, device="cpu"), open_teacher(tiny_teacher, device="cpu", compute="float32")


def test_retrieval_is_the_asymmetric_mode_of_evaluate(data_root, sides, noisy_student, tiny_teacher, tmp_path):
    task = open_task("retrieval", data_root, "test")
    scores = task.score(*sides)
    rows = evaluate(
        data_root / "tldr-commands",
        teacher=tiny_teacher,
        student=noisy_student,
        modes=["asymmetric"],
        cache=tmp_path,
        compute="float32",
        device="cpu",
    ).rows
    assert len(scores) == task.facts["items"] == 30
    # evaluate keeps the teacher's vectors in float16
    assert figures(scores[None], task.statistic)[0] == pytest.approx(rows[0].metrics["ndcg@10"], abs=2e-3)


def test_similarity_is_the_rank_correlation_of_cosines(data_root, sides):
    from scipy.stats import spearmanr

    task = open_task("similarity", data_root, "test")
    scores = task.score(*sides)
    assert scores.shape == (40,)
    assert (numpy.abs(scores) <= 1 + 1e-6).all()
    gold = [number % 6 for number in range(40)]
    assert figures(scores[None], task.statistic)[0] == pytest.approx(spearmanr(scores, gold)[0])


def test_scores_of_classes_are_zero_or_one_and_above_chance(data_root, sides):
    scores = open_task("classes", data_root, "test").score(*sides)
    assert set(scores.tolist()) <= {0.0, 1.0}
    assert scores.mean() > 0.6


def test_dev_is_a_fixed_part_of_train_that_is_not_fitted_on(data_root):
    first, again = (open_task("classes", data_root, "dev") for _ in range(2))
    assert first._tested == again._tested
    assert (first.facts["items"], first.facts["fitted"]) == (16, 64)
    assert not set(first._tested["text"]) & set(first._fitted["text"])
    tested = open_task("classes", data_root, "test")
    assert not set(tested._tested["text"]) & set(first._tested["text"])


@pytest.mark.parametrize("name", TASKS)
def test_facts_name_the_data_and_change_with_the_split(data_root, name):
    test, dev = (open_task(name, data_root, split).facts for split in ("test", "dev"))
    assert test["name"] == TASKS[name].folder
    assert test["sha256"] != dev["sha256"]


@pytest.mark.parametrize(
    ("name", "split", "said"),
    [
        ("ranking", "test", "task is 'ranking'; expected one of retrieval, similarity, classes"),
        ("classes", "train", "split is 'train'; expected test, or dev"),
    ],
)
def test_an_unknown_task_or_split_raises_an_error(data_root, name, split, said):
    with pytest.raises(OptionError, match=said):
        open_task(name, data_root, split)


def test_a_missing_data_folder_raises_an_error_that_names_it(tmp_path):
    with pytest.raises(OptionError, match=r"stsb-en does not exist.* needs the data folder stsb-en; set --data-root"):
        open_task("similarity", tmp_path, "test")
