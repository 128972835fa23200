"""The recorded command line can be run again."""

import subprocess
import sys

import pytest


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
