"""The wheel and the source distribution, away from the checkout: what users get is what was tested."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.fixtures.blocks import write_embedded_pages

ROOT = Path(__file__).resolve().parents[1]
STUDENT = (
    *("leafkit.json", "tokenizer.json", "README.md", "onnx/export.json", "onnx/model_quantized.onnx"),
    *("config.json", "modules.json", "1_Pooling/config.json"),
)


# What a search host does not have. A module that is None raises ImportError.
HEAVY = ("torch", "transformers", "sentence_transformers", "accelerate", "onnx", "pyarrow", "datasets", "mteb", "scipy")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the project's own files, so that a build leaves the checkout clean."""
    folder = tmp_path_factory.mktemp("source")
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not files:
        pytest.skip("this is not a git checkout, so nothing says which files belong to the project")
    for name in filter(None, files.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            target.symlink_to((ROOT / name).readlink())
        elif (ROOT / name).is_file():
            target.write_bytes((ROOT / name).read_bytes())
    # A folder in place of another shipped student: packaging does not look at the content of its files.
    for name in STUDENT:
        (folder / "models" / "stand-in" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "models" / "stand-in" / name).write_text(name)
    return folder


@pytest.fixture(scope="module")
def installed(source, tmp_path_factory):
    """The unpacked wheel, in a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    build("build_wheel", source, folder)
    (wheel,) = folder.glob("leafkit-*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def build(kind, source, out):
    program = f"import sys; from setuptools.build_meta import {kind}; {kind}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, str(out)], cwd=source, check=True, capture_output=True)
    shutil.rmtree(source / "build", ignore_errors=True)


def run(site, program):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=site.parent, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_wheel_holds_one_package_and_no_laboratory(installed):
    top = {entry.name for entry in installed.iterdir() if not entry.name.endswith(".dist-info")}
    assert top == {"leafkit"}
    inside = {entry.name for entry in (installed / "leafkit").iterdir()}
    assert {"cli", "models", "search", "py.typed"} <= inside
    assert "eval" not in inside


def test_the_source_distribution_holds_the_files_of_the_wheel(source, installed, tmp_path):
    """The folders cli and models are symbolic links in the checkout and must be real folders here."""
    build("build_sdist", source, tmp_path)
    (archive,) = tmp_path.glob("leafkit-*.tar.gz")
    with tarfile.open(archive) as tar:
        assert not [member.name for member in tar if member.issym() or member.islnk()]
        names = {member.name.partition("/")[2] for member in tar if member.isfile()}
    wheel = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    assert {name for name in wheel if name.startswith("leafkit/")} <= names
    assert "CHANGELOG.md" in names
    assert not [name for name in names if name.startswith(("tests/", "eval/"))]


def test_a_search_host_without_training_libraries_searches_with_the_wheel(installed, tmp_path):
    """The index is built with all libraries, and searched by a process in which importing any of them fails."""
    write_embedded_pages(tmp_path / "vectors.parquet")
    command = "app({!r}.split(), standalone_mode=False)".format
    vectors, index = tmp_path / "vectors.parquet", tmp_path / "bge.index"
    start = "from leafkit.cli import app\n"
    named = "--teacher-space bge-small-leaf --student bge-small-leaf"
    run(installed, start + command(f"index {vectors} --teacher {vectors} {named} --out {index}"))
    host = f"import sys; sys.modules.update(dict.fromkeys({HEAVY}))\n" + start
    found = run(installed, host + command(f"search {index} -k 1 --json find-large-files"))
    assert "pages/common/" in found
    assert run(installed, host + command("--version")).startswith("leafkit ")


def test_every_module_of_the_wheel_imports_from_the_wheel(installed):
    """A module for a framework may lack that framework, which no extra of leafkit installs, and nothing else."""
    program = (
        "import importlib, pathlib, leafkit; root = pathlib.Path(leafkit.__file__).parent; print(root)\n"
        "for path in root.rglob('*.py'):\n"
        "    name = '.'.join(path.relative_to(root.parent).with_suffix('').parts)\n"
        "    if path.stem != '__main__':\n"
        "        try: importlib.import_module(name)\n"
        "        except ModuleNotFoundError as error: print(name, error.name)\n"
    )
    root, *lacking = run(installed, program).splitlines()
    assert root == str(installed / "leafkit")
    frameworks = {"langchain langchain_core", "llamaindex llama_index", "haystack_ai haystack"}
    assert {line.removeprefix("leafkit.integrations.") for line in lacking} <= frameworks


def test_the_quickstart_collection_is_inside(installed, tmp_path):
    program = (
        "from pathlib import Path; from leafkit.models.help_pages import write_help_pages\n"
        f"print(len(write_help_pages(Path({str(tmp_path)!r})).queries))"
    )
    assert run(installed, program).strip() == "507"


def test_the_style_of_a_report_and_the_pages_of_a_site_and_the_server_are_inside(installed):
    assert (installed / "leafkit" / "evaluation" / "page" / "page.css").is_file()
    for page in ("site", "serve"):
        assert (installed / "leafkit" / page / "page" / "index.html").is_file()


def test_the_recipes_are_inside(installed):
    theirs = {path.name: path.read_bytes() for path in (installed / "leafkit" / "models" / "recipes").iterdir()}
    assert theirs == {path.name: path.read_bytes() for path in (ROOT / "models" / "recipes").iterdir()}


def test_no_file_names_data_outside_the_wheel(installed):
    files = [path for path in installed.rglob("*") if path.is_file()]
    assert len(files) > 200
    outside = [path for path in files for name in (b"../shared", b"shared/data") if name in path.read_bytes()]
    assert not outside


def test_the_verdicts_on_methods_are_inside(installed):
    theirs = {path.name for path in (installed / "leafkit" / "methods" / "verdicts").iterdir()}
    assert theirs == {path.name for path in (ROOT / "leafkit" / "methods" / "verdicts").glob("*.json")}


def test_a_student_that_ships_is_inside_whole_and_found_by_its_name(installed):
    folder = installed / "leafkit" / "models" / "stand-in"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {*STUDENT}
    assert run(
        installed, "from leafkit.shipped import resolve_student; print(resolve_student('stand-in'))"
    ).strip() == str(folder)
