"""A file is opened once; no link is followed where links are refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from leafkit.files.open_files import OpenFiles


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "root" / "inner").mkdir(parents=True)
    (tmp_path / "root" / "inner" / "a").write_bytes(b"content")
    return tmp_path / "root"


def test_what_was_hashed_is_what_is_read(folder):
    path = folder / "inner" / "a"
    with OpenFiles(folder, follow_links=False) as files:
        assert files.sha256(path) == hashlib.sha256(b"content").hexdigest()
        (folder / "other").write_bytes(b"changed")
        (folder / "other").replace(path)
        assert files.read(path, most_bytes=7) == b"content"
        assert files.open(path) is files.open(path)
        with pytest.raises(ValueError, match="larger than 6 bytes"):
            files.read(path, most_bytes=6)
    with OpenFiles(folder, follow_links=False) as files:
        assert files.read(path, most_bytes=7) == b"changed"


@pytest.mark.parametrize("linked", ["inner", "inner/a"])
def test_a_linked_file_or_folder_is_read_only_if_links_are_followed(folder, linked):
    (folder / linked).rename(folder.parent / "outside")
    (folder / linked).symlink_to(folder.parent / "outside")
    with OpenFiles(folder, follow_links=True) as files:
        assert files.read(folder / "inner" / "a", most_bytes=7) == b"content"
    with OpenFiles(folder, follow_links=False) as files, pytest.raises(OSError, match=f"{linked} is a symbolic link"):
        files.open(folder / "inner" / "a")


def test_the_folder_itself_may_be_a_link(folder):
    link = folder.parent / "link"
    link.symlink_to("root")
    with OpenFiles(link, follow_links=False) as files:
        assert files.read(link / "inner" / "a", most_bytes=7) == b"content"


def test_closing_releases_all_descriptors(folder):
    before = len(list(Path("/dev/fd").iterdir()))
    files = OpenFiles(folder, follow_links=True)
    file = files.open(folder / "inner" / "a")
    files.close()
    assert file.closed
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_files_that_were_taken_are_closed_with_their_new_owner(folder):
    with OpenFiles(folder, follow_links=True) as files:
        file = files.open(folder / "inner" / "a")
        assert files.take(folder / "other").has(folder / "inner" / "a")  # on the disk
        taken = files.take(folder / "inner")
    assert not file.closed
    (folder / "inner" / "a").unlink()
    assert taken.has(folder / "inner" / "a")
    assert not files.has(folder / "inner" / "a")
    assert taken.read(folder / "inner" / "a", most_bytes=7) == b"content"
    del taken
    assert file.closed
