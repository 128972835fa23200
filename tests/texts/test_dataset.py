"""Reading `datasets` datasets, saved on disk or from the hub."""

from __future__ import annotations

import json
import sys

import pytest

from leafkit.errors import MissingExtraError, TextError
from leafkit.texts.read import read_texts
from leafkit.texts.record import Text

datasets = pytest.importorskip("datasets")

ROWS = [{"id": number, "text": f"text {number}", "role": "query", "label": number % 2} for number in range(1, 2001)]
TEXTS = [Text(id=str(row["id"]), text=row["text"], role="query", payload={"label": row["label"]}) for row in ROWS]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder that `datasets` opens as ``owner/name``, because it is below the working directory."""
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return folder


def test_a_saved_dataset_gives_its_rows(tmp_path):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    assert list(read_texts(tmp_path / "saved")) == TEXTS


def test_a_saved_selection_gives_the_selected_rows(tmp_path):
    datasets.Dataset.from_list(ROWS).select([5, 3]).save_to_disk(tmp_path / "saved")
    assert list(read_texts(tmp_path / "saved")) == [TEXTS[5], TEXTS[3]]


def test_the_folder_names_rows_without_an_id(tmp_path):
    datasets.Dataset.from_dict({"sentence": ["one", "two"]}).save_to_disk(tmp_path / "saved")
    texts = list(read_texts(f"document:{tmp_path / 'saved'}"))
    assert [(text.id, text.role) for text in texts] == [("saved:1", "document"), ("saved:2", "document")]


def test_a_dataset_with_several_splits_needs_the_name_of_one(tmp_path):
    splits = {"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(ROWS[:1])}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    with pytest.raises(TextError, match=r"several splits. Choose one of .*saved/train, .*saved/test"):
        read_texts(tmp_path / "saved")
    assert list(read_texts(tmp_path / "saved" / "test")) == TEXTS[:1]


def test_a_dataset_with_one_split_needs_no_split_name(tmp_path):
    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(tmp_path / "saved")
    assert list(read_texts(tmp_path / "saved")) == TEXTS


def test_a_hub_dataset_is_streamed_by_name_and_split(hub):
    for split, rows in (("train", ROWS), ("test", ROWS[:2])):
        (hub / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(read_texts("hub:owner/name:train")) == TEXTS
    assert [text.role for text in read_texts("document:hub:owner/name:test")] == ["document"] * 2
    with pytest.raises(TextError, match=r"Choose one of hub:owner/name:train, hub:owner/name:test"):
        read_texts("hub:owner/name")
    with pytest.raises(TextError, match=r"hub:owner/name:dev: cannot open the dataset"):
        read_texts("hub:owner/name:dev")


def test_a_hub_dataset_that_cannot_be_reached_raises_before_reading(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TextError, match="hub:nobody/nothing: cannot open the dataset"):
        read_texts("hub:nobody/nothing")


def test_a_text_column_without_strings_raises(tmp_path):
    datasets.Dataset.from_dict({"text": [1, 2]}).save_to_disk(tmp_path / "saved")
    with pytest.raises(TextError, match="the text column 'text' has the type int64; expected strings"):
        list(read_texts(tmp_path / "saved"))


def test_a_damaged_saved_dataset_raises(tmp_path):
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    arrow.write_bytes(arrow.read_bytes()[:1000])
    with pytest.raises(TextError, match=r"saved.* cannot "):
        list(read_texts(tmp_path / "saved"))


def test_a_missing_datasets_package_is_named_with_its_extra(tmp_path, monkeypatch):
    datasets.Dataset.from_list(ROWS[:1]).save_to_disk(tmp_path / "saved")
    monkeypatch.setitem(sys.modules, "datasets", None)
    for source in (tmp_path / "saved", "hub:owner/name"):
        with pytest.raises(MissingExtraError, match=r"datasets, .* 'leafkit\[texts\]'"):
            read_texts(source)
