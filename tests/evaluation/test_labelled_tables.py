from __future__ import annotations

import gzip

import pytest

from leafkit.errors import OptionError, TextError
from leafkit.evaluation.labelled_tables import first_columns, read_table, split_file, table_files

LABELLED = {"text": str, "label": (str, int)}


def test_a_table_is_read_plain_or_compressed(tmp_path):
    rows = '{"text": "a", "label": "x", "more": 1}\n\n{"text": "b", "label": 2}\n'
    (tmp_path / "train.jsonl").write_text(rows)
    with gzip.open(tmp_path / "test.jsonl.gz", "wt") as file:
        file.write(rows)
    assert sorted(table_files(tmp_path)) == ["test", "train"]
    for split in ("test", "train"):
        path = split_file(tmp_path, split)
        assert read_table(path, LABELLED) == {"text": ["a", "b"], "label": ["x", 2]}
        assert first_columns(path) == ["text", "label", "more"]


def test_a_missing_split_is_refused_with_the_available_ones(tmp_path):
    (tmp_path / "dev.jsonl").touch()
    with pytest.raises(OptionError, match="no split 'test'; expected one of: dev"):
        split_file(tmp_path, "test")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('{"text": 1, "label": "x"}', "text is 1; expected a string"),
        ('{"text": "a"}', "label is None; expected a string or a whole number"),
        ('{"text": "a", "label": true}', "label is True; expected a string or a whole number"),
        ("[1]", "JSON object"),
        ("{", "JSON"),
    ],
)
def test_an_invalid_row_is_named_by_file_and_line(tmp_path, row, problem):
    path = tmp_path / "test.jsonl"
    path.write_text(f'{{"text": "a", "label": "x"}}\n{row}\n')
    with pytest.raises(TextError, match=rf"test\.jsonl:2: .*({problem})"):
        read_table(path, LABELLED)


def test_an_empty_table_is_refused(tmp_path):
    path = tmp_path / "test.jsonl"
    path.write_text("\n")
    for read in (first_columns, lambda path: read_table(path, LABELLED)):
        with pytest.raises(TextError, match="has no rows; expected at least one JSON object"):
            read(path)
