"""Each task scores its items as the rest of leafkit would, and reads what it says it reads."""

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.evaluation.compare.statistics import figures
from leafkit.evaluation.compare.tasks import TASKS, open_task
from leafkit.evaluation.evaluate import evaluate
from leafkit.students.folder import open_student
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


def test_classes_are_right_or_wrong_and_better_than_chance(data_root, sides):
    scores = open_task("classes", data_root, "test").score(*sides)
    assert set(scores.tolist()) <= {0.0, 1.0}
    assert scores.mean() > 0.6


def test_what_is_tuned_on_is_a_fixed_part_of_train_that_nothing_is_fitted_on(data_root):
    first, again = (open_task("classes", data_root, "dev") for _ in range(2))
    assert first._asked == again._asked
    assert (first.facts["items"], first.facts["fitted"]) == (16, 64)
    assert not set(first._asked["text"]) & set(first._fitted["text"])
    tested = open_task("classes", data_root, "test")
    assert not set(tested._asked["text"]) & set(first._asked["text"])


@pytest.mark.parametrize("name", TASKS)
def test_facts_name_the_data_and_change_with_the_split(data_root, name):
    test, dev = (open_task(name, data_root, split).facts for split in ("test", "dev"))
    assert test["name"] == TASKS[name].folder
    assert test["sha256"] != dev["sha256"]


@pytest.mark.parametrize(
    ("name", "split", "said"),
    [
        ("ranking", "test", "unknown task 'ranking'; wanted one of retrieval, similarity, classes"),
        ("classes", "train", "unknown split 'train'; wanted test, or dev"),
    ],
)
def test_what_is_not_known_is_named(data_root, name, split, said):
    with pytest.raises(OptionError, match=said):
        open_task(name, data_root, split)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"stsb-en is not there; name the folder that holds stsb-en \(--data-root\)"):
        open_task("similarity", tmp_path, "test")
