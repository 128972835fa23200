"""The hash of a method's code: which files count, and what changes it."""

import shutil

import pytest

from eval.method_code import METHODS, hash_of_code, imported_files, method_files
from leafkit.methods.registry import method_folders

NAMES = ("leaf", "comd", "condense", "curriculum", "pcoreset", "rad")


@pytest.fixture
def changed_by(tmp_path):
    """A function that changes a module in a copy of the methods and returns the methods whose hash changes."""
    methods = shutil.copytree(METHODS, tmp_path / "methods")

    def all_hashes():
        files = {name: methods / method_folders()[name] / f"{name}.py" for name in NAMES}
        return {name: hash_of_code(imported_files(file, methods)) for name, file in files.items()}

    before = all_hashes()

    def changed(module, change):
        path = methods / module
        kept = path.read_text()
        assert change(kept) != kept
        path.write_text(change(kept))
        after = all_hashes()
        path.write_text(kept)
        return {name for name in NAMES if before[name] != after[name]}

    return changed


def more(text):
    return text + "\nMORE = 1\n"


def test_a_changed_module_changes_the_methods_that_use_it_and_no_other(changed_by):
    assert changed_by("growing.py", more) == {"comd", "condense", "pcoreset", "rad"}
    assert changed_by("budgeted.py", more) == {"condense", "pcoreset", "rad"}
    assert changed_by("feeds/pcoreset.py", more) == {"condense", "pcoreset"}
    assert changed_by("method.py", more) == set()


def test_words_about_a_method_change_nothing_but_a_default_does(changed_by):
    def words(text):
        return "# A comment.\n" + text.replace('"""Return', '"""Give').replace('"teacher calls are', '"calls are')

    assert changed_by("feeds/pcoreset.py", words) == set()
    assert changed_by("feeds/comd.py", lambda text: text.replace("picks: int = 500", "picks: int = 400")) == {"comd"}


def test_imports_are_followed_through_every_form_and_in_circles(tmp_path):
    sources = {
        "method.py": "import leafkit.methods.unseen",
        "unseen.py": "",
        "one.py": "from leafkit.methods import two\nfrom leafkit.methods.method import Method",
        "two.py": "def later():\n    import leafkit.methods.feeds.three",
        "feeds/three.py": "from leafkit.methods.one import name\nfrom leafkit.errors import OptionError",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = imported_files(tmp_path / "one.py", tmp_path)
    assert found == [tmp_path / "one.py", tmp_path / "two.py", tmp_path / "feeds" / "three.py"]


def test_the_files_do_not_depend_on_their_order():
    files = method_files("pcoreset")
    assert files[0] == METHODS / "feeds" / "pcoreset.py"
    assert hash_of_code(files) == hash_of_code(reversed(files)) != hash_of_code(files[:1])
