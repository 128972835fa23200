"""The pages of results: each answers a question, names files that exist and is listed in the index."""

import re
from pathlib import Path

import pytest

RESULTS = Path(__file__).resolve().parents[2] / "eval" / "results"
INDEX = (RESULTS / "README.md").read_text(encoding="utf-8")
PAGES = sorted(page for page in RESULTS.glob("*.md") if page.name != "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_a_question_an_answer_and_commands_and_is_listed(page):
    text = page.read_text(encoding="utf-8")
    title, _, question, _, answer = text.split("\n")[:5]
    assert question.startswith("**Question.** ")
    assert question.endswith("?")
    assert re.fullmatch(r"\*\*Answer\.\*\* .+\.", answer)
    assert "\n## Commands\n" in text
    assert "```console\n$ " in text
    assert f"| [{title.removeprefix('# ')}]({page.name}) |" in INDEX


@pytest.mark.parametrize("page", [*PAGES, RESULTS / "README.md"], ids=lambda page: page.stem)
def test_links_and_named_files_exist(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    files = re.findall(r"`((?:studies/)?[\w-]+\.json)`", text)
    assert not [name for name in [*links, *files] if not (RESULTS / name).is_file()]


def test_every_result_file_belongs_to_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    files = [*RESULTS.glob("*.json"), *RESULTS.glob("studies/*")]
    assert not [file.name for file in files if file.relative_to(RESULTS).as_posix() not in text]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_name_modules_and_recipes_that_exist(page):
    text = page.read_text(encoding="utf-8")
    root = RESULTS.parents[1]
    for name in re.findall(r"python -m (eval\.\w+)", text):
        place = root / name.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), name
    for name in re.findall(r"eval/(?:recipes|studies)/[\w-]+\.toml", text):
        assert (root / name).is_file(), name
