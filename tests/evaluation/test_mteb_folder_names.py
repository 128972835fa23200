"""A folder of data is found by the name under which mteb knows its task."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("mteb")

from leafkit.errors import OptionError
from leafkit.evaluation.mteb_tasks import find_task

PAIR = {"sentence1": "a", "sentence2": "b", "score": 1}
LABELLED = {"text": "a", "label": "x"}


@pytest.fixture
def add(tmp_path):
    """Add a folder of a table to the root; ``note`` is its SOURCE.md."""

    def add_folder(name, row, note=""):
        (tmp_path / name).mkdir()
        for split in ("train", "test"):
            (tmp_path / name / f"{split}.jsonl").write_text(json.dumps(row) + "\n")
        if note:
            (tmp_path / name / "SOURCE.md").write_text(note)

    return add_folder


@pytest.mark.parametrize(
    ("task", "folder", "note"),
    [
        ("STSBenchmark", "stsb-en", "# stsb-en (STS Benchmark, English)\n\nOrigin: somewhere."),
        ("STSBenchmark", "pairs", "# Pairs\n\nThe test split of mteb/stsbenchmark-sts."),
        ("STSBenchmark", "stsbenchmark-sts", ""),
        ("sts benchmark", "stsb-en", "# stsb-en (STS Benchmark, English)"),
        ("BIOSSES", "biosses_sts", ""),
        ("STS12", "STS12-STS", ""),
    ],
)
def test_a_task_of_mteb_is_found_by_name_dataset_or_note(task, folder, note, add, tmp_path):
    add("others", LABELLED, "# Others (banking)")
    add(folder, PAIR, note)
    assert find_task(task, tmp_path, "test").metadata.name == folder


def test_the_kind_of_task_in_a_name_may_be_missing_from_the_folder(add, tmp_path):
    add("banking77", LABELLED)
    assert find_task("Banking77Classification", tmp_path, "test").metadata.name == "banking77"
    assert find_task("Banking77Classification.v2:clustering", tmp_path, "test").metadata.name == "banking77:clustering"


@pytest.mark.parametrize(
    "note", ["# Other pairs", "# x\n\nFrom mteb/stsbenchmark-sts-de", "# x\n\nxmteb/stsbenchmark-sts"]
)
def test_other_folders_are_listed_with_what_mteb_knows(note, add, tmp_path):
    add("pairs", PAIR, note)
    with pytest.raises(OptionError, match=r"STS task on the dataset mteb/stsbenchmark-sts\. Expected one of: pairs"):
        find_task("STSBenchmark", tmp_path, "test")


def test_two_folders_of_a_task_are_refused(add, tmp_path):
    add("one", PAIR, "# one (STS Benchmark)")
    add("two", PAIR, "# two (STS Benchmark)")
    with pytest.raises(OptionError, match=r"several folders for the task 'STSBenchmark': one, two\."):
        find_task("STSBenchmark", tmp_path, "test")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "folder"),
    [
        ("STSBenchmark", "stsb-en"),
        ("Banking77Classification", "banking77"),
        ("SciFact", "scifact"),
        ("NFCorpus", "nfcorpus"),
        ("ArguAna", "arguana"),
    ],
)
def test_the_real_folders_are_found_by_the_names_of_mteb(task, folder, shared_data):
    assert find_task(task, shared_data / "bench", "test").metadata.name == folder
