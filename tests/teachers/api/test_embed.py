"""`leafkit embed` with a teacher behind an API: what is sent, what is shown before, and files of batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import numpy
import pytest
from typer.testing import CliRunner

from leafkit.cli import app
from leafkit.errors import ApiError, InputError, OptionError, OutputError
from leafkit.teachers.api import batch_files
from leafkit.teachers.api.batch_files import collect_answers, write_batch_files
from leafkit.teachers.api.unsent import estimate_embedding
from leafkit.teachers.embed import embed
from leafkit.teachers.open import open_teacher
from tests.fixtures.api_server import DIM, drawn, pack, status
from tests.fixtures.blocks import ROOT

TEXTS = [f"document {number}" for number in range(20)]
KNOWN = {"dimensions": DIM, "normalised": True}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with twenty documents, one of them twice, and two questions. The cache is in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEAFKIT_CACHE", str(tmp_path / "cache"))
    lines = [json.dumps({"_id": str(i), "text": text}) for i, text in enumerate([*TEXTS, TEXTS[3]])]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines))
    (tmp_path / "questions.txt").write_text("what\nwhich one\n")
    return tmp_path


@pytest.fixture
def name(server):
    return f"api:{server.url}/v1#m"


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def vectors(path):
    return numpy.load(path).astype(numpy.float32)


def test_each_text_is_sent_once_and_its_vector_is_the_servers(server, name, place):
    result = run("embed", "docs.jsonl", "--encoder", name, "--out", "out.npy", "--precision", "float32")
    assert result.exit_code == 0, result.output
    assert numpy.allclose(vectors("out.npy"), [drawn(text) for text in [*TEXTS, TEXTS[3]]], atol=1e-6)
    assert Counter(text for text in server.sent if text in TEXTS) == Counter(TEXTS)
    embed(["docs.jsonl", "query:questions.txt"], name, "all.npy", precision="float32")
    assert Counter(text for text in server.sent if text in TEXTS) == Counter(TEXTS)
    again = open_teacher("all.npy")
    assert again.space == open_teacher(name).space
    assert numpy.allclose(again.encode(["which one"], "query"), [drawn("which one")], atol=1e-6)


def test_a_ray_cluster_cannot_help_an_api(name, place):
    with pytest.raises(OptionError, match="Raise concurrency instead"):
        embed("docs.jsonl", name, "out", ray="local", **KNOWN)


def test_the_base_installation_is_enough(name, place):
    """None of the packages that an extra installs is imported."""
    hidden = (
        "accelerate datasets httpx huggingface_hub pandas pyarrow requests sentence_transformers torch transformers"
    )
    code = f"""if True:
        import sys
        sys.modules.update(dict.fromkeys({hidden.split()}))
        import leafkit
        leafkit.embed("docs.jsonl", {name!r}, "out.npy")
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert len(vectors("out.npy")) == 21


def test_a_dry_run_shows_all_and_sends_nothing(server, name, place):
    (place / "prices.toml").write_text("m = 2.0\n")
    options = ["--dimensions", DIM, "--normalised", "--prices", "prices.toml"]
    result = run("embed", "docs.jsonl", "--encoder", name, "--out", "out.npy", "--dry-run", *options)
    assert result.exit_code == 0, result.output
    # A letter run of six letters and one of two, up to two digits, and two special tokens: 5 tokens each.
    assert "to send  20 texts, about 100 tokens, 0.00020 USD (prices of prices.toml)" in result.output
    assert "texts    21, of which 1 are repeated" in result.output
    assert not server.requests
    assert not (place / "out.npy").exists()


def test_an_estimate_knows_the_cache_the_limit_and_what_it_does_not_know(server, name, place):
    embed("docs.jsonl", name, "out.npy", **KNOWN)
    sent = len(server.requests)
    found = estimate_embedding(["docs.jsonl", "query:questions.txt"], name, max_length=3, **KNOWN)
    assert (found.rows, found.cached, found.sent, found.too_long) == (23, 21, 2, 1)
    found = estimate_embedding(["docs.jsonl", "query:questions.txt"], name, **KNOWN)
    assert (found.rows, found.cached, found.sent, found.too_long) == (23, 21, 2, 0)
    embed("query:questions.txt", name, "q.npy", precision="float32", **KNOWN)
    sent += 1
    assert estimate_embedding(["docs.jsonl", "query:questions.txt"], name, **KNOWN).sent == 0
    embed("query:questions.txt", name, "q16.npy", **KNOWN)
    assert "set --dimensions" in str(estimate_embedding("docs.jsonl", name))
    assert len(server.requests) == sent
    with pytest.raises(OptionError, match="is not behind an API"):
        estimate_embedding("docs.jsonl", "BAAI/bge-small-en-v1.5")


def test_a_budget_of_nothing_sends_nothing_and_the_same_command_goes_on(server, name, place):
    command = ["embed", "docs.jsonl", "--encoder", name, "--out", "out.npy", "--dimensions", DIM, "--normalised"]
    result = run(*command, "--api-budget", "0-tokens")
    assert result.exit_code != 0
    assert "0 of 20 texts are done, and 20 are left" in str(result.exception)
    assert not server.requests
    assert not [file for file in place.iterdir() if file.name.startswith(("out.", ".out"))]
    assert run(*command, "--teacher-batch-size", "5", "--api-budget", "60tokens").exit_code != 0
    assert run(*command).exit_code == 0
    assert Counter(server.sent) == Counter(TEXTS)


def test_one_message_for_a_wrong_key(server, name, place):
    server.always = status(401, b"no such key")
    with pytest.raises(ApiError, match=r"no such key.*LEAFKIT_API_KEY"):
        embed("docs.jsonl", name, "out.npy", **KNOWN)
    assert len(server.requests) <= 4
    assert not (place / "out.npy").exists()


def answer(line, **change):
    """What a provider makes of a request."""
    request = json.loads(line)
    body = request["body"]
    data = [{"index": 0, "embedding": pack(drawn(body["input"][0]))}]
    response = {"status_code": 200, "body": {"data": data, "usage": {"prompt_tokens": 3}}}
    return json.dumps({"custom_id": request["custom_id"], "response": response, "error": None, **change}) + "\n"


def test_a_batch_goes_out_and_comes_back_in_any_order(server, name, place):
    options = ["--encoder", name, "--out", "out.npy", "--dimensions", DIM, "--normalised", "--precision", "float32"]
    result = run("embed", "docs.jsonl", *options, "--batch-file", "requests.jsonl")
    assert (result.exit_code, result.stdout) == (0, "requests.jsonl\n")
    lines = (place / "requests.jsonl").read_text().splitlines()
    assert len(lines) == 20
    first = json.loads(lines[0])
    assert (first["method"], first["url"]) == ("POST", "/v1/embeddings")
    assert first["body"] == {"model": "m", "input": [TEXTS[0]], "encoding_format": "float", "dimensions": DIM}
    (place / "answers.jsonl").write_text("".join(map(answer, reversed(lines))))
    result = run("embed", "docs.jsonl", *options, "--collect", "answers.jsonl")
    assert (result.exit_code, result.stdout) == (0, "out.npy\n")
    assert numpy.allclose(vectors("out.npy"), [drawn(text) for text in [*TEXTS, TEXTS[3]]], atol=1e-6)
    assert not server.requests
    assert write_batch_files("docs.jsonl", name, "more.jsonl", precision="float32", **KNOWN) == []


def test_answers_that_are_missing_or_failed_are_counted_and_written_again(server, name, place):
    write_batch_files("docs.jsonl", name, "requests.jsonl", **KNOWN)
    lines = (place / "requests.jsonl").read_text().splitlines()
    bad = answer(lines[0], response={"status_code": 429, "body": {"error": "busy"}}) + answer(lines[1], error="no")
    (place / "answers.jsonl").write_text("\n" + bad + "".join(map(answer, lines[2:15] * 2)))
    found = collect_answers("docs.jsonl", name, ["answers.jsonl"], **KNOWN)
    assert (found.stored, found.failed, found.missing, found.tokens) == (13, 2, 7, 39)
    with pytest.raises(ApiError, match=r"7 texts have no vector yet \(2 answers are errors, the first: .*429.*busy"):
        found.check()
    with pytest.raises(OutputError, match="add --overwrite"):
        write_batch_files("docs.jsonl", name, "requests.jsonl", **KNOWN)
    write_batch_files("docs.jsonl", name, "requests.jsonl", overwrite=True, **KNOWN)
    assert (place / "requests.jsonl").read_text().splitlines() == [*lines[:2], *lines[15:]]
    assert not server.requests


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json\n", "answers.jsonl:1 is not an answer"),
        ('{"custom_id": "zz"}\n', "answers.jsonl:1 is not an answer"),
        ('\n{"id": 1}\n', "answers.jsonl:2 is not an answer"),
        ("[]\n", "answers.jsonl:1 is not an answer"),
    ],
)
def test_a_file_of_something_else_is_named_with_its_line(name, place, content, message):
    (place / "answers.jsonl").write_text(content)
    with pytest.raises(InputError, match=message):
        collect_answers("docs.jsonl", name, ["answers.jsonl"], **KNOWN)
    with pytest.raises(InputError, match="cannot be read"):
        collect_answers("docs.jsonl", name, ["none.jsonl"], **KNOWN)


@pytest.mark.parametrize("other", [{"name": "n"}, {"document_prompt": "passage: "}, {"dimensions": None}])
def test_answers_for_another_model_prompt_or_width_are_refused_even_if_they_fit(server, name, place, other):
    write_batch_files("docs.jsonl", name, "requests.jsonl", **KNOWN)
    lines = (place / "requests.jsonl").read_text().splitlines()
    (place / "answers.jsonl").write_text("".join(map(answer, lines)))
    changed = KNOWN | other
    encoder = f"api:{server.url}/v1#{changed.pop('name', 'm')}"
    with pytest.raises(InputError, match=r"answers\.jsonl:1 answers a request for another model, width or prompt"):
        collect_answers("docs.jsonl", encoder, ["answers.jsonl"], **changed)
    assert collect_answers("docs.jsonl", name, ["answers.jsonl"], **KNOWN).stored == 20


def test_vectors_of_another_width_are_refused_and_the_others_kept(name, place, monkeypatch):
    monkeypatch.setattr(batch_files, "PART", 5)
    write_batch_files("docs.jsonl", name, "requests.jsonl", **KNOWN)
    lines = (place / "requests.jsonl").read_text().splitlines()
    short = {"status_code": 200, "body": {"data": [{"index": 0, "embedding": [1.0]}]}}
    (place / "answers.jsonl").write_text("".join(map(answer, lines[:19])) + answer(lines[19], response=short))
    with pytest.raises(ApiError, match="width 1; expected 8"):
        collect_answers("docs.jsonl", name, ["answers.jsonl"], **KNOWN)
    assert estimate_embedding("docs.jsonl", name, **KNOWN).sent == 5


def test_a_batch_is_cut_into_files_that_a_provider_takes(name, place, monkeypatch):
    monkeypatch.setattr(batch_files, "MOST_LINES", 8)
    files = write_batch_files("docs.jsonl", name, "requests.jsonl", **KNOWN)
    assert [file.name for file in files] == ["requests.jsonl", "requests-2.jsonl", "requests-3.jsonl"]
    assert [len(file.read_text().splitlines()) for file in files] == [8, 8, 4]
    (place / "other.jsonl").write_text("mine")
    with pytest.raises(OutputError, match=r"other\.jsonl already exists\. Choose another path\."):
        write_batch_files("docs.jsonl", name, "other.jsonl", overwrite=True, **KNOWN)


def test_a_shard_does_not_stand_for_all_texts(name, place):
    """Two shards would write all requests twice."""
    with pytest.raises(OptionError, match="shard and ray do not apply to --dry-run and --batch-file"):
        write_batch_files("docs.jsonl", name, "requests.jsonl", shard="1/2", **KNOWN)
    with pytest.raises(OptionError, match="shard and ray do not apply"):
        estimate_embedding("docs.jsonl", name, shard="1/2", **KNOWN)


def test_a_text_that_is_too_long_writes_no_batch(name, place):
    with pytest.raises(InputError, match="20 of 20 texts exceed"):
        write_batch_files("docs.jsonl", name, "requests.jsonl", max_length=3, **KNOWN)
    assert not (place / "requests.jsonl").exists()
    with pytest.raises(OptionError, match="which cohere does not take"):
        write_batch_files("docs.jsonl", "api:cohere/embed-v4.0", "requests.jsonl")


def test_shards_and_files_share_what_was_paid_for(server, name, place):
    for shard in ("1/2", "2/2"):
        embed("docs.jsonl", name, "shards", shard=shard, **KNOWN)
    embed("docs.jsonl", name, "out.npy", **KNOWN)
    assert Counter(text for text in server.sent if text in TEXTS) == Counter(TEXTS)
