"""The delimiter of a table is the usual one, unless only another one gives the header its text column."""

import pytest

from leafkit.errors import TextError
from leafkit.texts.read import read_texts


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_is_found_in_the_header(tmp_path, delimiter):
    rows = [["id", "text", "size"], ["7", '"a, b"', "1,5"], ["8", "c", "2"]]
    (tmp_path / "a.csv").write_text("".join(delimiter.join(row) + "\n" for row in rows))
    first, second = read_texts(tmp_path / "a.csv")
    assert (first.id, first.text, first.payload) == ("7", "a, b", {"size": "1,5"})
    assert (second.id, second.text) == ("8", "c")


def test_commas_in_a_file_for_tabs_are_found(tmp_path):
    (tmp_path / "a.tsv").write_text("id,text\n7,a\n")
    assert [text.id for text in read_texts(tmp_path / "a.tsv")] == ["7"]


def test_a_named_column_decides_the_delimiter(tmp_path):
    (tmp_path / "a.csv").write_text("Frage;Nummer\nwas?;7\n")
    assert [text.text for text in read_texts(tmp_path / "a.csv", text_column="Frage")] == ["was?"]
    assert [text.id for text in read_texts(tmp_path / "a.csv", text_column="Frage", id_column="Nummer")] == ["7"]
    with pytest.raises(TextError, match="the columns are 'Frage;Nummer'; expected one of text"):
        list(read_texts(tmp_path / "a.csv"))


@pytest.mark.parametrize("header", ["text,a;b", "text", "a;b,text"])
def test_the_usual_delimiter_is_kept_wherever_it_fits(tmp_path, header):
    names = header.split(",")
    (tmp_path / "a.csv").write_text(header + "\n" + ",".join("x" * len(names)) + "\n")
    (read,) = read_texts(tmp_path / "a.csv")
    assert (read.text, set(read.payload)) == ("x", set(names) - {"text"})


def test_two_other_delimiters_that_fit_are_not_chosen_from(tmp_path):
    (tmp_path / "a.csv").write_text("id;x|text;text|x\n1\n")
    with pytest.raises(TextError, match="expected one of text"):
        list(read_texts(tmp_path / "a.csv"))
