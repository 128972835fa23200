import shutil
import subprocess
import sys

import pytest

from leafkit.errors import InputError, OptionError
from leafkit.files.model_folder import package_folder
from leafkit.teachers.open import open_teacher
from leafkit.types import Teacher


@pytest.fixture
def installed(tiny_teacher, tmp_path, monkeypatch):
    """An installed package tiny-model that contains the tiny teacher and raises an error if imported."""
    site = tmp_path / "site"
    shutil.copytree(tiny_teacher, site / "tiny_model" / "model")
    (site / "tiny_model" / "__init__.py").write_text("raise RuntimeError('imported')")
    info = site / "tiny_model-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
    files = [file.relative_to(site).as_posix() for file in sorted(site.rglob("*")) if file.is_file()]
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    monkeypatch.syspath_prepend(str(site))
    return site


def test_no_heavy_package_is_imported_before_a_teacher_is_opened():
    code = (
        "import sys, leafkit.teachers.open, leafkit.vectors.cached, leafkit.teachers.embed; "
        "sys.exit(bool({'torch', 'transformers', 'pyarrow', 'onnxruntime'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_open_teacher_is_returned_unchanged(tiny_teacher):
    teacher = open_teacher(tiny_teacher)
    assert open_teacher(teacher) is teacher
    assert isinstance(teacher, Teacher)


def test_paths_may_be_strings_and_relative(tiny_teacher, monkeypatch):
    monkeypatch.chdir(tiny_teacher.parent)
    spaces = {open_teacher(path).space for path in (tiny_teacher, str(tiny_teacher), tiny_teacher.name)}
    assert len(spaces) == 1
    monkeypatch.chdir(tiny_teacher)
    assert open_teacher(".").space in spaces


def test_a_model_in_a_package_is_found_without_importing_the_package(installed, tiny_teacher):
    teacher = open_teacher("package:tiny-model")
    assert teacher.space.id == open_teacher(tiny_teacher).space.id
    assert teacher.space.teacher == "tiny-model"
    assert "tiny_model" not in sys.modules


def test_a_missing_package_or_one_without_exactly_one_model_raises(installed):
    with pytest.raises(InputError, match="pip install no-such-model"):
        open_teacher("package:no-such-model")
    with pytest.raises(InputError, match="contains 0 models"):
        package_folder("numpy")
    record = installed / "tiny_model-1.0.dist-info" / "RECORD"
    record.write_text(record.read_text() + "tiny_model/other/modules.json,,\n")
    with pytest.raises(InputError, match="contains 2 models"):
        open_teacher("package:tiny-model")


def test_a_hub_model_is_read_from_the_cache_when_offline(tiny_teacher, tmp_path, monkeypatch):
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "models--owner--tiny"
    shutil.copytree(tiny_teacher, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    teacher = open_teacher("owner/tiny")
    assert teacher.space.id == open_teacher(tiny_teacher).space.id
    assert teacher.space.teacher == "owner/tiny"
    assert open_teacher("owner/tiny", revision=commit).space == teacher.space
    with pytest.raises(InputError, match="cannot be downloaded from the hub"):
        open_teacher("owner/tiny", revision="other")


@pytest.mark.parametrize(
    "argument", ["no/such-model", "no-such-model", "a/b/c", "missing.parquet", "missing.npy", "./missing", "", 7, None]
)
def test_an_argument_that_is_no_teacher_raises_with_the_kinds_of_teachers(argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="A teacher is one of"):
        open_teacher(argument)


def test_a_folder_or_file_without_a_teacher_raises(tmp_path):
    with pytest.raises(InputError, match="does not contain a teacher"):
        open_teacher(tmp_path)
    (tmp_path / "texts.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(InputError, match="not a vectors file"):
        open_teacher(tmp_path / "texts.jsonl")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compute": "int8"}, "compute is 'int8'; expected one of auto, float32"),
        ({"pooling": "max"}, "pooling is 'max'; expected one of mean, cls"),
        ({"teacher_batch_size": 0}, "teacher_batch_size is 0"),
        ({"max_length": -1}, "max_length is -1"),
        ({"revision": "main"}, "revision does not apply to a local teacher"),
    ],
)
def test_an_option_outside_its_range_raises(tiny_teacher, options, message):
    with pytest.raises(OptionError, match=message):
        open_teacher(tiny_teacher, **options)
