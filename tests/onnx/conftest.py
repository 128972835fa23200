import shutil

import pytest

import leafkit


@pytest.fixture(scope="session")
def tiny_texts(tmp_path_factory, sentences):
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    roles = ("query", "document")
    file.write_text("".join(f'{{"text": "{text}", "role": "{roles[i % 2]}"}}\n' for i, text in enumerate(sentences)))
    return file


@pytest.fixture(scope="session")
def exported(tmp_path_factory, tiny_teacher, tiny_texts):
    """A two-layer student of the tiny teacher at its ridge start, exported; shared, so never changed."""
    folder = tmp_path_factory.mktemp("student")
    cache = folder / "cache"
    leafkit.distill(tiny_texts, tiny_teacher, "teacher:layers=2", folder / "student", epochs=0, cache=cache)
    return folder / "student"


@pytest.fixture
def copied(exported, tmp_path):
    """A copy of the exported student, to be broken."""
    return shutil.copytree(exported, tmp_path / "copied")
