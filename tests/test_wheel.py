"""The wheel, away from the checkout: what users get is what was tested."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STUDENT = (
    *("leafkit.json", "tokenizer.json", "README.md", "onnx/export.json", "onnx/model_quantized.onnx"),
    *("config.json", "modules.json", "1_Pooling/config.json"),
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An unpacked wheel in a folder of its own, built from a copy so that the checkout stays clean."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not files:
        pytest.skip("not a git checkout: nothing says which files belong to the project")
    for name in filter(None, files.split("\0")):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            target.symlink_to((ROOT / name).readlink())
        elif (ROOT / name).is_file():
            target.write_bytes((ROOT / name).read_bytes())
    # A student that ships, as far as packaging is concerned.
    for name in STUDENT:
        (source / "models" / "stand-in" / name).parent.mkdir(parents=True, exist_ok=True)
        (source / "models" / "stand-in" / name).write_text(name)
    build = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("leafkit-*.whl")
    site = folder / "site"
    zipfile.ZipFile(wheel).extractall(site)
    return site


def run(site, program):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=site.parent, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_wheel_holds_one_package_and_no_laboratory(installed):
    top = {entry.name for entry in installed.iterdir() if not entry.name.endswith(".dist-info")}
    assert top == {"leafkit"}
    inside = {entry.name for entry in (installed / "leafkit").iterdir()}
    assert {"cli", "models", "search"} <= inside
    assert "eval" not in inside


def test_every_module_of_the_wheel_imports_from_the_wheel(installed):
    program = (
        "import importlib, pathlib, leafkit; root = pathlib.Path(leafkit.__file__).parent; print(root)\n"
        "names = [p.relative_to(root.parent).with_suffix('') for p in root.rglob('*.py') if p.stem != '__main__']\n"
        "[importlib.import_module('.'.join(n.parts)) for n in names]"
    )
    assert run(installed, program).strip() == str(installed / "leafkit")


def test_the_quickstart_collection_is_inside(installed, tmp_path):
    program = (
        "from pathlib import Path; from leafkit.models.help_pages import write_help_pages\n"
        f"print(len(write_help_pages(Path({str(tmp_path)!r})).queries))"
    )
    assert run(installed, program).strip() == "507"


def test_the_style_of_a_report_is_inside(installed):
    assert (installed / "leafkit" / "evaluation" / "page" / "page.css").is_file()


def test_the_recipes_are_inside(installed):
    theirs = {path.name: path.read_bytes() for path in (installed / "leafkit" / "models" / "recipes").iterdir()}
    assert theirs == {path.name: path.read_bytes() for path in (ROOT / "models" / "recipes").iterdir()}


def test_no_file_names_data_outside_the_wheel(installed):
    files = [path for path in (installed / "leafkit").rglob("*") if path.is_file()]
    assert len(files) > 200
    outside = [path for path in files for name in (b"../shared", b"shared/data") if name in path.read_bytes()]
    assert not outside


def test_the_results_of_systems_are_inside(installed):
    theirs = {path.name for path in (installed / "leafkit" / "methods" / "verdicts").iterdir()}
    assert theirs == {path.name for path in (ROOT / "leafkit" / "methods" / "verdicts").glob("*.json")}


def test_a_student_that_ships_is_inside_whole_and_found_by_its_name(installed):
    folder = installed / "leafkit" / "models" / "stand-in"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {*STUDENT}
    assert run(
        installed, "from leafkit.shipped import resolve_student; print(resolve_student('stand-in'))"
    ).strip() == str(folder)
