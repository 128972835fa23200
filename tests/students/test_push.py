import json
import shutil
import socket

import pytest

import leafkit
from leafkit.errors import DamageError, InputError, OptionError, OutputError
from leafkit.students.folder import MARKER, read_student
from tests.fixtures.hub import serving_hub

TOKEN = "hf_secretsecretsecret"


@pytest.fixture
def hub(monkeypatch):
    """A local hub, in the place of the real one."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _runtime

    with serving_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(_runtime, "is_xet_available", lambda: False)
        yield hub


def files_of(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_every_file_of_the_student_arrives_byte_for_byte_in_one_commit(hub, exported):
    url = leafkit.push(exported, "hub:me/my-student")
    assert url == f"{hub.url}/me/my-student"
    assert hub.repositories["me/my-student"] == {"main": files_of(exported)}
    assert hub.commits == 1
    assert not hub.private["me/my-student"]
    assert hub.tokens <= {f"Bearer {TOKEN}", None}


def test_files_that_are_not_the_students_stay_here(hub, copied):
    own = files_of(copied)
    for name in (
        ".env",
        "notes.md",
        "train.csv",
        "checksums.json",
        "onnx/model.onnx.bak",
        "1_Pooling/x.npy",
        ".git/config",
        "a/b.npy",
    ):
        (copied / name).parent.mkdir(exist_ok=True)
        (copied / name).write_text("secret")
    leafkit.push(copied, "hub:me/my-student")
    assert hub.repositories["me/my-student"]["main"] == own


@pytest.mark.parametrize("name", ["notes.txt", "train.jsonl", "1_Pooling/x.json", "adapter_config.json"])
def test_a_folder_with_files_that_could_change_the_vectors_is_refused(hub, copied, name):
    (copied / name).write_text("{}")
    with pytest.raises(DamageError, match=name):
        leafkit.push(copied, "hub:me/my-student")
    assert hub.tokens == set()


def test_a_student_whose_record_lists_the_weights_alone_is_refused(hub, copied):
    raw = json.loads((copied / MARKER).read_bytes())
    weights = {name: digest for name, digest in raw.pop("files").items() if name.endswith(".safetensors")}
    (copied / MARKER).write_text(json.dumps(raw | {"version": 1, "weights": weights}))
    with pytest.raises(InputError, match="leafkit export copied --out FOLDER"):
        leafkit.push(copied, "hub:me/my-student")
    assert hub.tokens == set()


def test_a_second_push_updates_the_repository(hub, copied):
    leafkit.push(copied, "hub:me/my-student")
    (copied / "README.md").write_text("---\ntags: [mine]\n---\nnew")
    leafkit.push(copied, "hub:me/my-student")
    assert hub.repositories["me/my-student"]["main"]["README.md"].endswith(b"new")


def test_a_branch_and_a_private_repository_are_made_on_demand(hub, exported):
    leafkit.push(exported, "hub:me/my-student", private=True, revision="next")
    branches = hub.repositories["me/my-student"]
    assert (branches["main"], branches["next"]) == ({}, files_of(exported))
    assert hub.private["me/my-student"]


def test_a_private_student_is_not_published_in_a_public_repository(hub, exported):
    hub.repositories["me/my-student"], hub.private["me/my-student"] = {"main": {}}, False
    with pytest.raises(OutputError, match="exists and is public, so nothing was uploaded"):
        leafkit.push(exported, "hub:me/my-student", private=True)
    assert hub.repositories["me/my-student"]["main"] == {}


@pytest.mark.parametrize("route", ["/repos/create", "/preupload/", "/commit/"])
@pytest.mark.parametrize(
    ("status", "advice"), [(401, "hf auth login"), (403, "write access"), (404, "no such repository")]
)
def test_a_refusal_is_one_error_with_advice(hub, exported, route, status, advice):
    hub.status[route] = status
    hub.says = f"\x1b[31mno, {TOKEN}"
    with pytest.raises(OutputError, match=advice) as caught:
        leafkit.push(exported, "hub:me/my-student")
    assert f"status {status}" in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_hub_that_cannot_be_reached_is_one_error(exported, monkeypatch):
    from huggingface_hub import constants

    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(OutputError, match=r"cannot upload to me/my-student.*Check the network"):
        leafkit.push(exported, "hub:me/my-student")


def test_an_offline_machine_is_told_so(exported, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(OutputError, match="offline mode"):
        leafkit.push(exported, "hub:me/my-student")


def test_without_a_token_nothing_is_sent(hub, exported, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(OutputError, match="no token for the hub"):
        leafkit.push(exported, "hub:me/my-student")
    assert hub.tokens == set()


@pytest.mark.parametrize(
    "to",
    [
        "me/my-student",
        "hub:my-student",
        "hub:me/../x",
        "hub:me/a/b",
        "hub:/x",
        "hub:me/",
        "hub:me/a b",
        "hub:me/a--b",
        "hub:me/a.git",
        "hub:me/\u0430",
    ],
)
def test_another_target_is_refused(exported, to):
    with pytest.raises(OptionError, match="Write hub:OWNER/NAME"):
        leafkit.push(exported, to)


def test_an_index_is_refused(hub, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="may hold your documents"):
        leafkit.push(tmp_path, "hub:me/docs")
    assert hub.tokens == set()


def test_a_student_that_ships_without_weights_is_completed_first(hub):
    with pytest.raises(InputError, match="leafkit export bge-small-leaf --out FOLDER"):
        leafkit.push("bge-small-leaf", "hub:me/leaf")


@pytest.mark.parametrize("name", ["model.safetensors", "onnx/model.onnx"])
def test_a_damaged_student_is_not_uploaded(hub, copied, name):
    content = bytearray((copied / name).read_bytes())
    content[-1] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(DamageError):
        leafkit.push(copied, "hub:me/my-student")
    assert hub.tokens == set()


def test_the_files_of_a_student_are_links_in_a_cache(hub, exported, tmp_path):
    """The hub's cache is made of links, and a student in it can be pushed on."""
    linked = shutil.copytree(exported, tmp_path / "linked", copy_function=lambda source, target: _link(source, target))
    leafkit.push(linked, "hub:me/my-student")
    hashed = {name: content for name, content in files_of(exported).items() if name != "README.md"}
    assert hub.repositories["me/my-student"]["main"] == hashed
    assert read_student(linked).space == read_student(exported).space


def test_a_card_that_leads_to_a_file_of_the_user_is_not_uploaded(hub, copied, tmp_path):
    (tmp_path / "secret").write_text("my key")
    (copied / "README.md").unlink()
    (copied / "README.md").symlink_to(tmp_path / "secret")
    leafkit.push(copied, "hub:me/my-student")
    assert not any(b"my key" in content for content in hub.repositories["me/my-student"]["main"].values())


def _link(source, target):
    from pathlib import Path

    Path(target).symlink_to(source)
