"""Only regular files are opened, and nothing blocks."""

from __future__ import annotations

import os
import socket

import pytest

from leafkit.files.regular import open_regular


def test_a_file_and_a_link_to_it_are_read(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to("a")
    for name in ("a", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"content"
    with open_regular(tmp_path / "a", follow_links=False) as file:
        assert file.read() == b"content"


def test_a_link_raises_where_links_are_not_followed(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    for target in ("a", "nothing"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(target)
        with pytest.raises(OSError, match="link is a symbolic link"):
            open_regular(tmp_path / "link", follow_links=False)


def test_a_link_that_takes_the_place_of_a_checked_file_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(__file__)
    monkeypatch.setattr(type(tmp_path), "is_symlink", lambda _: False)
    with pytest.raises(OSError, match="symbolic links"):
        open_regular(tmp_path / "link", follow_links=False)


@pytest.mark.timeout(10)
def test_anything_but_a_regular_file_raises_and_says_what_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    os.mkfifo("pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, kind in (("pipe", "a named pipe"), ("folder", "a folder"), ("zero", "a device")):
        with pytest.raises(OSError, match=f"{name} is {kind}; expected a regular file"):
            open_regular(tmp_path / name)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        with pytest.raises(OSError, match="socket"):
            open_regular(tmp_path / "socket")


def test_a_missing_file_raises_its_own_error(tmp_path):
    for follow_links in (False, True):
        with pytest.raises(FileNotFoundError):
            open_regular(tmp_path / "nothing", follow_links=follow_links)
