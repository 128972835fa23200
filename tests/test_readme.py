"""The README's commands and code run as they are written, and its map of the code is the code's."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "eval" / "results" / "README.md"]
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_teacher, sentences):
    """A folder where every name that the README uses stands for something small and real."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(tiny_teacher, folder / "BAAI" / "bge-small-en-v1.5")
    documents = [{"_id": f"doc-{i}", "text": text} for i, text in enumerate(sentences[:120])]

    def write(name, rows):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    write("docs.jsonl", documents)
    write("new-docs.jsonl", [{"_id": "new", "text": sentences[150]}])
    (folder / "questions.txt").write_text("\n".join(sentences[120:150]))
    write("my-judgements/corpus.jsonl", documents)
    write("my-judgements/queries.jsonl", [{"_id": f"q{i}", "text": sentences[i][:-3]} for i in range(5)])
    (folder / "my-judgements" / "qrels").mkdir()
    qrels = "".join(f"q{i}\tdoc-{i}\t1\n" for i in range(5))
    (folder / "my-judgements" / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{qrels}")
    return folder


@pytest.mark.parametrize(("language", "code"), BLOCKS, ids=[code.split("\n")[0][:40] for _, code in BLOCKS])
def test_a_block_runs_as_written(place, language, code):
    """The blocks run in the order in which a reader meets them."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "-euc", code] if language == "bash" else [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_map_of_the_code_names_every_part():
    drawn = README.partition("## The code")[2]
    for package in ("leafkit", "cli", "eval", "models", "tests"):
        assert f"{package}/" in drawn
    parts = [entry for entry in (ROOT / "leafkit").iterdir() if not entry.name.startswith("__")]
    names = [entry.name for entry in parts if entry.suffix == ".py" or (entry / "__init__.py").is_file()]
    missing = [name for name in names if name not in drawn and name != "version.py"]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_links_lead_to_files_and_headings_that_exist(page):
    targets = re.findall(r"\]\((?!https?:)([^)]*)\)", page.read_text(encoding="utf-8"))
    assert targets
    for target in targets:
        file, _, heading = target.partition("#")
        place = page.parent / file if file else page
        assert place.exists(), target
        if heading:
            place = place / "README.md" if place.is_dir() else place
            assert heading in _headings(place), target


def test_a_result_that_is_named_is_there():
    front, results = (page.read_text(encoding="utf-8") for page in PAGES)
    named = re.findall(r"eval/results/([\w./-]+\.json)", front) + re.findall(r"`([\w./-]+\.json)`", results)
    missing = [name for name in named if not (PAGES[1].parent / name).is_file()]
    assert named
    assert not missing


def _headings(page):
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}
