"""A folder of .txt and .md files is a set of documents: one per file, named by its path."""

import logging
import os

import pytest

from leafkit.errors import TextError
from leafkit.texts.read import read_texts


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    for name, content in {
        "b.txt": "plain text\n\nof two paragraphs\n",
        "a/deep/c.md": "\n# A title #\n\nThe text.\n",
        "a/d.MD": "No heading\n# later\n",
        "a.md": "## Only a title",
        "blank.txt": " \n",
        "picture.png": "\x89PNG",
        "a/table.csv": "id,text\n",
        ".git/config.txt": "hidden",
        ".hidden.md": "hidden",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode("latin-1"))
    return folder


def test_each_file_is_a_document_with_its_path_as_id(notes):
    read = list(read_texts(notes, role="document"))
    assert [(text.id, text.title, text.text, text.role, text.payload) for text in read] == [
        ("a/d.MD", "", "No heading\n# later", "document", {}),
        ("a/deep/c.md", "A title", "The text.", "document", {}),
        ("a.md", "Only a title", "", "document", {}),
        ("b.txt", "", "plain text\n\nof two paragraphs", "document", {}),
    ]
    assert [text.role for text in read_texts(f"query:{notes}")] == ["query"] * 4


def test_other_files_are_counted_in_the_log(notes, caplog):
    caplog.set_level(logging.INFO, "leafkit")
    list(read_texts(notes))
    assert caplog.messages == [f"{notes}: skipped files that are not text (1 .png, 1 .csv)"] or caplog.messages == [
        f"{notes}: skipped files that are not text (1 .csv, 1 .png)"
    ]


def test_the_order_does_not_depend_on_the_file_system(notes, monkeypatch):
    walk = os.walk
    expected = [text.id for text in read_texts(notes)]

    def reversed_walk(folder):
        for place, folders, names in walk(folder):
            folders.reverse()
            yield place, folders, names[::-1]

    monkeypatch.setattr(os, "walk", reversed_walk)
    assert [text.id for text in read_texts(notes)] == expected


def test_a_file_that_is_not_utf_8_is_named_and_can_be_skipped(notes):
    (notes / "a" / "latin.txt").write_bytes(b"caf\xe9")
    (notes / "a" / "wide.txt").write_bytes("text".encode("utf-16"))
    with pytest.raises(TextError, match=r"notes:3: a/latin.txt: the row holds the byte 0xe9; expected UTF-8"):
        list(read_texts(notes))
    assert len(list(read_texts(notes, skip_bad=True))) == 4
    (notes / "a" / "latin.txt").unlink()
    with pytest.raises(TextError, match=r"notes:3: a/wide.txt is in UTF-16; expected UTF-8"):
        list(read_texts(notes))


def test_pipes_and_links_to_folders_are_not_followed(notes, tmp_path):
    os.mkfifo(notes / "pipe.txt")
    (notes / "around").symlink_to(tmp_path)
    (notes / "broken.txt").symlink_to(tmp_path / "missing")
    assert len(list(read_texts(notes))) == 4


@pytest.mark.parametrize("marker", ["modules.json", "leafkit.json", "manifest.json"])
def test_a_folder_of_a_model_is_not_a_set_of_documents(notes, marker):
    (notes / marker).write_text("{}")
    with pytest.raises(TextError, match="neither a folder in BEIR layout"):
        read_texts(notes)


def test_a_folder_with_other_files_of_texts_is_ambiguous(notes):
    (notes / "more.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(TextError, match=rf"Name its files: {notes}/\*\.jsonl {notes}/\*\.txt$"):
        read_texts(notes)


def test_a_folder_that_cannot_be_read_is_a_text_error(notes, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(notes))

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(TextError, match="notes cannot be read: Permission denied"):
        read_texts(notes)
    with pytest.raises(TextError, match="cannot be read: File name too long"):
        read_texts("x" * 5000 + ".jsonl")
