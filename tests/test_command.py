"""The recorded command line can be run again, and no exception reaches the user as a traceback."""

import errno
import subprocess
import sys

import pytest

from leafkit.command import exit_on_error
from leafkit.errors import TextError


@pytest.mark.parametrize(("package", "name"), [("told.py", "told"), ("told/__main__.py", "told")])
def test_a_module_is_recorded_as_python_m(package, name, tmp_path):
    file = tmp_path / package
    file.parent.mkdir(exist_ok=True)
    (file.parent / "__init__.py").touch()
    file.write_text("from leafkit.command import command_line\nprint(command_line())")
    command = [sys.executable, "-m", name, "--data", "a folder"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "python -m told --data 'a folder'"


def test_a_script_is_recorded_without_its_folder(tmp_path):
    script = tmp_path / "bin" / "tell"
    script.parent.mkdir()
    script.write_text("from leafkit.command import command_line\nprint(command_line())")
    done = subprocess.run([sys.executable, script, "-x"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "tell -x"


class Panic(BaseException):
    """Like the panics of libraries in Rust, which are not of the class Exception."""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (TextError("docs.jsonl:3: the row is empty."), 1, "leafkit: docs.jsonl:3: the row is empty.\n"),
        (ModuleNotFoundError("no torch", name="torch"), 1, "pip install 'leafkit[train]'"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "leafkit: /x: Permission denied. Check the path"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "leafkit: No space left on device. Check"),
        (MemoryError(), 1, "leafkit: there is not enough memory."),
        (KeyError("dim"), 70, "leafkit: internal error: KeyError: 'dim' (run with LEAFKIT_TRACEBACK=1"),
        (RecursionError("too deep"), 70, "internal error: RecursionError: too deep (run"),
        (AssertionError(), 70, "internal error: AssertionError (run"),
        (OSError("a message of a library"), 70, "internal error: OSError: a message of a library (run"),
        (ModuleNotFoundError("no other", name="other"), 70, "internal error: ModuleNotFoundError: no other"),
        (Panic("index out of bounds"), 70, "internal error: Panic: index out of bounds"),
    ],
)
def test_an_exception_is_one_message_and_an_exit_code(error, code, message, capsys, monkeypatch):
    monkeypatch.delenv("LEAFKIT_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as stopped, exit_on_error():
        raise error
    out, err = capsys.readouterr()
    assert (stopped.value.code, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_exits_and_interruptions_pass_through(error):
    with pytest.raises(type(error)) as passed, exit_on_error():
        raise error
    assert passed.value is error


def test_the_traceback_is_shown_on_request(monkeypatch):
    monkeypatch.setenv("LEAFKIT_TRACEBACK", "1")
    with pytest.raises(KeyError), exit_on_error():
        raise KeyError("dim")


def test_an_error_that_quotes_data_is_harmless_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(SystemExit), exit_on_error():
        raise TextError("the id is \x1b[2J\u202e")
    assert capsys.readouterr().err == "leafkit: the id is \\x1b[2J\\u202e\n"
