"""Addresses of engines: what they name, and that their passwords stay unseen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from leafkit.cli import main
from leafkit.command import command_line
from leafkit.engines.contents import MOST_CHARACTERS, Contents, read_contents
from leafkit.engines.url import EngineUrl, is_engine_url
from leafkit.errors import EngineError, OptionError
from leafkit.filters.schema import Schema
from leafkit.terminal import without_passwords
from tests.fixtures.engines import SPACE


def test_an_address_names_an_engine_a_place_and_a_table() -> None:
    url = EngineUrl.parse("Postgres://me:secret@host:5432/db?sslmode=require#search.docs")
    assert (url.engine, url.name, url.place) == ("postgresql", "search.docs", "me:secret@host:5432/db?sslmode=require")
    assert str(url) == "Postgres://me:***@host:5432/db?sslmode=require#search.docs"
    assert "secret" not in repr(url)


def test_the_name_of_a_table_may_have_an_at_sign() -> None:
    for place in ("host/db", "host:5432/db", "me:a@host/db", "host:5432"):
        assert EngineUrl.parse(f"postgresql://{place}#a@b").name == "a@b"


def test_a_message_of_a_library_is_cleaned_of_the_password_as_it_is_and_decoded() -> None:
    url = EngineUrl.parse("postgresql://me:a%2Fb@c@host/db?sslpassword=deep&x=1#t")
    said = 'invalid token: "a%2Fb@c"\nfor a/b@c, deep and host postgresql://you:other@host'
    assert url.clean(said) == 'invalid token: "***" for ***, *** and host postgresql://you:***@host'
    assert EngineUrl.parse("qdrant://host:6333#t").clean("host:6333 is closed.") == "host:6333 is closed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mysql://me:secret@host/db#t", "is no address of an engine"),
        ("postgresql", "is no address of an engine"),
        ("postgresql://me:secret@host/db", "names no table or collection"),
        ("postgresql://me:secret@host/db#", "names no table or collection"),
        ("postgresql://me:secret@host/db#a\0", "names no table or collection"),
        ("postgresql://me:se#secret@host/db#t", "has a # in its password"),
        ("postgresql://me:se#secret@host/db", "has a # in its password"),
        ("postgresql://me:12#secret@host:5432/db#t", "has a # in its password"),
        ("qdrant://me:secret/a#b@host#t", "has a # in its password"),
    ],
)
def test_what_is_no_address_is_refused_without_its_password(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message) as error:
        EngineUrl.parse(text)
    assert "secret" not in str(error.value)


def test_a_path_is_no_address() -> None:
    assert not is_engine_url(Path("postgresql://host/db#t"))
    assert not is_engine_url("docs.index")


@pytest.mark.parametrize(
    "secret",
    [
        "postgresql://me:SECRET@host/db",
        "postgresql://me:a@SECRET@host/db",
        "postgresql://me:a/SECRET@host/db",
        "postgresql://host/db?user=me&password=SECRET",
        "https://x/?api_key=SECRET&a=1",
    ],
)
def test_passwords_are_not_recorded_in_a_command_line(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setattr(sys, "argv", ["leafkit", "pull", f"{secret}#t"])
    assert "SECRET" not in command_line()
    assert "***" in command_line()
    assert without_passwords("12:30, http://host:80/a b@c") == "12:30, http://host:80/a b@c"


RECORD = Contents(space=SPACE, dim=32, precision="float32", schema=Schema(), complete=True).dump()


def test_a_damaged_record_is_an_error() -> None:
    for text, message in (
        ('{"format": "leafkit-engine", "version": 2}', "has version 2 of the record; expected 1"),
        ('{"format": "leafkit-engine", "version": 1}', "is damaged .*'space'"),
        (RECORD.replace("float32", "int4"), "is damaged .*precision 'int4'"),
        ("x" * (MOST_CHARACTERS + 1), "leafkit did not write it"),
        (None, "leafkit did not write it"),
    ):
        with pytest.raises(EngineError, match=message):
            read_contents(text, where="the table", precisions=["float32"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["push", "docs.index", "mysql://me:secret@host/db#t"], "is no address of an engine"),
        (["push", "docs.index", "postgresql://host/db#t", "--private"], "--private has no meaning for an engine"),
        (["push", "my-student", "hub:me/mine", "--prune"], "--prune has no meaning for the hub"),
        (["push", "docs.index", "postgresql://host/db#t"], "docs.index is not an index"),
        (["pull", "docs.index", "--out", "new.index"], "is no address of an engine"),
    ],
)
def test_commands_say_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["leafkit", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert "secret" not in error
