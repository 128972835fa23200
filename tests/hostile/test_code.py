"""Code that comes with a received file runs only if this very call asks for it: never because a file says so."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import leafkit
from leafkit.errors import InputError, LeafkitError, OptionError
from leafkit.index.build import build_index
from leafkit.index.package_files import write_manifest
from leafkit.index.recorded_teacher import open_index_teacher
from leafkit.index.update import update_index
from leafkit.search.manifest import read_manifest
from leafkit.search.searcher import Searcher
from leafkit.training.recipe_file import read_recipe
from tests.fixtures.api_server import ApiServer, serving


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that the code of `armed` writes when it runs."""
    return tmp_path / "it ran"


@pytest.fixture
def armed(tiny_teacher: Path, tmp_path: Path, mark: Path) -> Path:
    """A teacher with the vectors of the tiny teacher and a module of its own, which writes `mark`."""
    folder = shutil.copytree(tiny_teacher, tmp_path / "armed")
    modules = json.loads((folder / "modules.json").read_text())
    modules[2]["type"] = "own_code.Own"
    (folder / "modules.json").write_text(json.dumps(modules))
    code = "from sentence_transformers.sentence_transformer.modules import Normalize\n"
    code += f"open({str(mark)!r}, 'w').close()\nclass Own(Normalize):\n    pass\n"
    (folder / "own_code.py").write_text(code)
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two documents."""
    file = tmp_path_factory.mktemp("texts") / "docs.txt"
    file.write_text("a list\na key\n")
    return file


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A third document, to be added."""
    (tmp_path / "new.txt").write_text("a branch\n")
    return tmp_path / "new.txt"


@pytest.fixture(scope="module")
def sent(tiny_teacher: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index by the tiny teacher."""
    return build_index(texts, tiny_teacher, tmp_path_factory.mktemp("sent") / "index")


@pytest.fixture
def index(sent: Path, tmp_path: Path) -> Path:
    """A copy of `sent`, to be forged."""
    return shutil.copytree(sent, tmp_path / "index")


def forge(index: Path, record: object) -> None:
    """Write ``record`` as the teacher of the index, under right hashes, as an attacker would."""
    manifest = read_manifest(index)
    write_manifest(index, replace(manifest, built={**manifest.built, "teacher": record}))


def test_an_update_runs_the_code_of_a_teacher_only_if_this_call_trusts_it(
    armed: Path, texts: Path, new: Path, mark: Path, tmp_path: Path
) -> None:
    index = build_index(texts, armed, tmp_path / "index", trust_remote_code=True)
    assert mark.exists()
    mark.unlink()
    record = read_manifest(index).built["teacher"]
    assert record == {"argument": str(armed), "options": {}, "remote_code": True}
    with pytest.raises(OptionError, match=r"was built with --trust-remote-code: its teacher .*armed runs code"):
        update_index(index, add=new)
    with pytest.raises(OptionError, match="open the teacher in Python, with trust_remote_code=True"):
        open_index_teacher(index)
    assert not mark.exists()
    assert update_index(index, add=new, trust_remote_code=True).added == 1
    # Within one process Python keeps the module that was loaded before, so the mark is not written again.


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        ({"options": {"trust_remote_code": True}}, "was built with --trust-remote-code"),
        ({"options": {"trust_remote_code": 1}}, "was built with --trust-remote-code"),
        ({"options": {}, "remote_code": "yes"}, "was built with --trust-remote-code"),
        ({"options": {}}, "cannot open .*armed with sentence-transformers"),
        ({"options": {"trust_remote_code": False}, "remote_code": False}, "cannot open .*armed"),
    ],
)
def test_a_forged_record_of_the_teacher_runs_no_code(
    index: Path, armed: Path, new: Path, mark: Path, forged: dict, message: str
) -> None:
    forge(index, {"argument": str(armed), **forged})
    with pytest.raises(InputError, match=message):
        update_index(index, add=new)
    searcher = Searcher.open(index, teacher=lambda: open_index_teacher(index))
    with pytest.raises(InputError, match=message):
        searcher.search("a list", effort="teacher")
    assert not mark.exists()
    assert read_manifest(index).count == 2


@pytest.mark.parametrize("kind", ["", "openai+", "gemini+"])
def test_an_index_sends_no_text_and_no_key_to_a_server_that_it_names(index: Path, new: Path, kind: str) -> None:
    with serving(ApiServer(dim=32)) as server:
        forge(index, {"argument": f"api:{kind}{server.url}/v1#m", "options": {"normalised": True}})
        with pytest.raises(InputError, match=r"names a server as its teacher: api:.*name it yourself\. Give the"):
            update_index(index, add=new)
        searcher = Searcher.open(index, teacher=lambda: open_index_teacher(index))
        with pytest.raises(InputError, match="names a server as its teacher"):
            searcher.search("a list", effort="teacher")
        assert not server.requests


@pytest.mark.parametrize("relative", [True, False])
def test_a_teacher_inside_the_index_folder_is_refused(
    index: Path, tiny_teacher: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    shutil.copytree(tiny_teacher, index / "teacher")
    (tmp_path / "outside").symlink_to(index / "teacher")
    (index / "link").symlink_to(tiny_teacher)
    monkeypatch.chdir(tmp_path)
    root = Path() if relative else tmp_path
    for place in (root / "index/teacher", root / "outside", root / "index/link", root / "index/../index/teacher"):
        for record in (
            {"argument": str(place), "options": {}},
            {"argument": str(tiny_teacher), "options": {"teacher_space": str(place)}},
        ):
            forge(index, record)
            with pytest.raises(InputError, match="names a teacher inside its own folder"):
                update_index(index, add=new)
    # The user may still name it.
    assert update_index(index, add=new, teacher=index / "teacher").added == 1


@pytest.mark.parametrize(
    "record",
    [
        [],
        7,
        "teacher",
        {"argument": "x"},
        {"options": {}},
        {"argument": "x", "options": 7},
        {"argument": "x", "options": {"no_such_option": 1}},
        {"argument": "x", "options": {"compute": []}},
        {"argument": "\0", "options": {}},
        {"argument": "x" * 5000, "options": {}},
    ],
)
def test_an_invalid_record_of_the_teacher_is_an_error(index: Path, new: Path, record: object) -> None:
    forge(index, record)
    with pytest.raises(LeafkitError):
        update_index(index, add=new)


def test_an_update_logs_the_absolute_path_of_the_teacher_before_opening_it(
    index: Path, tiny_teacher: Path, new: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tiny_teacher.parent)
    forge(index, {"argument": tiny_teacher.name, "options": {}})
    caplog.set_level(logging.INFO, "leafkit")
    caplog.clear()
    update_index(index, add=new)
    messages = [record.message for record in caplog.records]
    opening = messages.index(f"the index names its teacher: opening {tiny_teacher}")
    computing = next(number for number, message in enumerate(messages) if "computing in" in message)
    assert opening < computing


def test_a_recipe_cannot_turn_on_the_code_of_a_teacher(armed: Path, texts: Path, mark: Path, tmp_path: Path) -> None:
    for value in ("true", "false"):
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(f'teacher = "{armed}"\ntrust_remote_code = {value}\n')
        with pytest.raises(OptionError, match=r"recipe\.toml:2: a recipe cannot set trust_remote_code"):
            read_recipe(recipe)
    recipe.write_text(f'texts = "{texts}"\nteacher = "{armed}"\nstudent = "teacher:layers=1"\n')
    with pytest.raises(InputError, match="trust_remote_code"):
        leafkit.distill(**leafkit.read_recipe(recipe), out=tmp_path / "student")
    assert not mark.exists()


@pytest.mark.parametrize("teacher", ["api:http://host/v1#m", "api:openai+https://host/v1#m"])
def test_a_recipe_cannot_send_files_of_this_machine_to_a_server(teacher: str, texts: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    for line in (f'teacher = "{teacher}"', f'methods = ["leaf:other={teacher}"]'):
        recipe.write_text(f'texts = "{texts}"\n{line}\n')
        with pytest.raises(OptionError, match=r"recipe\.toml:2: a recipe cannot set .* to a server's address"):
            read_recipe(recipe)
    recipe.write_text('teacher = "api:openai/text-embedding-3-small"\n')
    assert read_recipe(recipe)["teacher"] == "api:openai/text-embedding-3-small"
