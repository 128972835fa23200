"""The documentation: its code runs, its commands exist, its links lead somewhere, and nothing public is missing."""

import contextlib
import importlib.util
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

import leafkit
from tests.fixtures.blocks import PAGES, ROOT, RUN, blocks, lay_out, run_block

DOCS = ROOT / "docs"
RESULTS = sorted((ROOT / "eval" / "results").rglob("*.md"))
WRITTEN = "\n".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md")))
RUNNING = [page for page in PAGES if page.parent != ROOT and any(b.language in RUN for b in blocks([page]))]
TYPED = [block for block in blocks(PAGES) if block.commands]


def load(name):
    """Return one of the modules in docs/, which are no package: MkDocs finds them by their path."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def code_pages():
    return load("pages_of_code")


@pytest.fixture(scope="module")
def file_pages():
    return load("pages_of_files")


@pytest.fixture(scope="module")
def generated(code_pages, file_pages):
    """The addresses of the pages and files that exist only in the built documentation."""
    return {*code_pages.pages(), *file_pages.pages(), *file_pages.attachments()}


@pytest.fixture(scope="module")
def index(exported, tiny_teacher, sentences, tmp_path_factory):
    """An index as docs/indexes.md builds it."""
    place = lay_out(tmp_path_factory.mktemp("built"), tiny_teacher, sentences)
    with contextlib.chdir(place):
        leafkit.build_index("docs.jsonl", "BAAI/bge-small-en-v1.5", "docs.index", student=exported, cache=place)
    return place / "docs.index"


@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_the_code_of_a_page_runs_as_written(page, tmp_path, monkeypatch, tiny_teacher, sentences, exported, index):
    """The blocks run in order, in one process, in a folder with the files that the page does not create."""
    lay_out(tmp_path, tiny_teacher, sentences)
    running = [block for block in blocks([page]) if block.language in RUN]
    for name, made in (("my-student", exported), ("docs.index", index)):
        if not any(f"--out {name}" in block.code for block in running):
            shutil.copytree(made, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for block in running:
        run_block(block)


@pytest.mark.parametrize("block", TYPED, ids=str)
def test_every_command_in_a_block_exists_with_its_options(block, code_pages):
    commands = code_pages.commands()
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for command in block.commands:
        program, *words = shlex.split(command, comments=True)
        if program == "make":
            assert set(words) <= set(targets), command
        elif program == "leafkit":
            name = " ".join(words[:2]) if " ".join(words[:2]) in commands else words[0]
            known = {flag for one in commands[name].params for flag in (*one.opts, *one.secondary_opts)} | {"--help"}
            assert {word for word in words if re.match(r"--?[a-z]", word)} <= known, command
        elif program == "python" and words[1].startswith("eval"):
            assert importlib.util.find_spec(words[1]), command


@pytest.mark.parametrize("page", [*PAGES, *RESULTS], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_pages_and_headings_that_exist(page, generated):
    """Generated pages count as present; `make docs` checks the headings inside them."""
    for target in re.findall(r"\]\((?!https?:)([^)\s]*)\)", page.read_text(encoding="utf-8")):
        file, _, heading = target.partition("#")
        place = Path(os.path.normpath(page.parent / file)) if file else page
        place = place / "README.md" if place.is_dir() else place
        if place.is_relative_to(DOCS) and place.relative_to(DOCS).as_posix() in generated:
            continue
        assert place.is_file(), target
        assert not heading or heading in headings(place), target


def test_no_generated_page_is_committed(generated):
    assert not [address for address in generated if (DOCS / address).exists()]


def test_every_public_name_is_in_the_python_reference(code_pages):
    shown = set(re.findall(r'heading: "leafkit\.(\w+)"', code_pages.api_page()))
    assert set(leafkit.__all__) - {"__version__"} <= shown


def test_every_command_is_in_the_reference_and_in_a_guide(code_pages):
    page = code_pages.commands_page()
    missing = [name for name in code_pages.commands() if f"## leafkit {name}\n" not in page]
    unexplained = [name for name in code_pages.commands() if f"leafkit {name}" not in WRITTEN]
    assert not missing
    assert not unexplained


def test_every_option_of_a_command_has_a_row_with_a_meaning(code_pages):
    page = code_pages.commands_page()
    for name, command in code_pages.commands().items():
        part = page.partition(f"## leafkit {name}\n")[2].partition("\n## ")[0]
        for one in command.params:
            if one.param_type_name == "option" and one.name != "help":
                (row,) = [line for line in part.splitlines() if line.startswith(f"| `{one.opts[0]}`")]
                assert row.split("|")[3].strip(), f"leafkit {name} {one.opts[0]} has no help"


def test_every_class_of_options_has_a_table(code_pages):
    from leafkit.options import fields_of

    page = code_pages.options_page()
    for kind in code_pages.option_classes():
        assert f"## {kind.panel}\n" in page
        missing = [name for name in fields_of(kind) if f"| `{name}` |" not in page]
        assert not missing


def test_every_method_has_a_page_that_the_table_links_to(code_pages):
    table = code_pages.methods_table()
    for name in code_pages.method_names():
        assert f"[{name}]({name}.md)" in table


def test_every_study_is_a_page_whose_links_stay_inside(file_pages, generated):
    addresses = generated | {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    for address, text in file_pages.pages().items():
        for target in re.findall(r"\]\((?!https?:|#)([^)\s]*)\)", text):
            goal = os.path.normpath(Path(address).parent / target.partition("#")[0])
            assert goal in addresses, f"{address}: {target}"


def test_a_result_file_that_a_page_names_exists():
    named = re.findall(r"eval/results/([\w./-]+\.json)", WRITTEN + (ROOT / "README.md").read_text(encoding="utf-8"))
    assert named
    assert not [name for name in named if not (ROOT / "eval" / "results" / name).is_file()]


def test_the_changelog_states_the_version_of_every_format():
    """A module with a format has one string `leafkit-...` and one number VERSION."""
    versions = {}
    for path in [*(ROOT / "leafkit").rglob("*.py"), *(ROOT / "models").glob("*.py")]:
        code = path.read_text(encoding="utf-8")
        number = re.search(r"^(?:\w+, )*VERSION = (?:\"[^\"]*\", )*(\d+)$", code, flags=re.MULTILINE)
        if number:
            (name,) = set(re.findall(r'"(leafkit-[a-z]+)"', code))
            versions[name] = number[1]
    table = re.findall(r"^\| `(leafkit-[a-z]+)`.*?\| (\d+) \|", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert dict(table) == versions


def test_docstrings_become_lists_and_trees_become_code():
    markdown = load("griffe_docstrings").as_markdown
    assert markdown("Do it.\n\ntexts: files.\n    More.\nseed, k: numbers.") == (
        "Do it.\n\n- `texts`: files.\n  More.\n- `seed, k`: numbers."
    )
    assert markdown("Errors\n├── A\n└── B") == "```text\nErrors\n├── A\n└── B\n```"
    assert markdown("A sentence with a colon: here.") == "A sentence with a colon: here."
    assert markdown("Options: what to do.") == "Options: what to do."
    assert markdown("An example::\n\n    class A:\n\n        b: int = 1") == (
        "An example:\n\n    class A:\n\n        b: int = 1"
    )


def headings(page):
    """Return the anchors of a page as GitHub and the documentation make them."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}
