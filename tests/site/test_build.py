"""The folder of a site: what is in it, what stays out, and what is refused."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile

import numpy
import pytest

from leafkit.errors import InputError, OptionError, OutputError
from leafkit.search.rescoring import encode as encode_int8
from leafkit.search.searcher import Searcher
from leafkit.site.build import build_site
from leafkit.site.documents import encode
from leafkit.site.npm import _member, copy_package
from leafkit.vectors.cosine import unit_rows
from tests.site.conftest import HOSTILE, pack, write_npm


def facts_of(site):
    return json.loads((site / "leafkit-site.json").read_text())


def contents(site):
    return {file.relative_to(site): file.read_bytes() for file in site.rglob("*") if file.is_file()}


def test_the_site_finds_what_the_index_finds(built):
    """The page's arithmetic in numpy: whole numbers of any length, the golden vector as the query."""
    index, site = built
    facts = facts_of(site)
    vectors = numpy.fromfile(site / "data/vectors.bin", dtype="<i2").reshape(facts["documents"], facts["dim"])
    cosines = unit_rows(vectors.astype(numpy.float32)) @ numpy.array(facts["golden"]["vector"])
    hits = Searcher.open(index).search(facts["golden"]["text"], k=38)
    shown = json.loads((site / "data/documents.json").read_text())
    order = numpy.argsort(-cosines)
    assert [shown[row][0] for row in order] == hits.ids
    assert cosines[order] == pytest.approx(hits.scores, abs=1e-4)


def test_the_page_knows_every_file_that_it_loads(built):
    _, site = built
    files = facts_of(site)["files"]
    loaded = ["data/documents.json", "data/vectors.bin", "student/model.onnx", "student/tokenizer.json"]
    assert sorted(files) == [*loaded, "vendor/onnxruntime.wasm"]
    assert all((site / name).stat().st_size == facts["bytes"] for name, facts in files.items())
    assert {"licenses.txt", "tokenizers-license.txt"} < {file.name for file in (site / "vendor").iterdir()}


def test_a_page_never_names_another_origin(built):
    """Nothing that a browser resolves: the policy forbids it, and no address is there."""
    _, site = built
    html = (site / "index.html").read_text()
    assert "default-src 'none'; script-src 'self' 'wasm-unsafe-eval';" in html
    for file in (site / "page").glob("*.js"):
        assert "http:" not in file.read_text().replace("http://localhost:8000", "")
        assert not {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"} & set(file.read_text().split("."))


def test_hostile_texts_are_data_and_a_hostile_title_is_escaped(built):
    _, site = built
    html = (site / "index.html").read_text()
    assert "<script>hurt" not in html
    assert html.count("&lt;script&gt;hurt = 1&lt;/script&gt;") == 2
    title, text, url = json.loads((site / "data/documents.json").read_text())[1][1:]
    assert (title, text, url) == (HOSTILE, f"{HOSTILE} \ud800", "")


def test_texts_are_cut_and_other_columns_stay_private(built):
    _, site = built
    shown = (site / "data/documents.json").read_text()
    assert "s3" not in shown
    identity, title, text, url = json.loads(shown)[2]
    assert (identity, title, url) == ("doc 2", "", "https://example.org/2")
    assert text == ("words " * 50).rstrip() + "…"


def test_removed_documents_are_not_published(built):
    _, site = built
    shown = json.loads((site / "data/documents.json").read_text())
    assert [row[0] for row in shown] == [f"doc {row}" for row in range(40) if row not in (4, 5)]
    assert (site / "data/vectors.bin").stat().st_size == 2 * 38 * facts_of(site)["dim"]


def test_the_same_index_gives_the_same_site_which_is_replaced_only_when_asked(
    built, npm, tmp_path, monkeypatch, caplog
):
    index, site = built
    monkeypatch.setattr("leafkit.site.build.LARGE", 1e6)
    copy = shutil.copytree(site, tmp_path / "public")
    (copy / "old.js").write_text("")
    with pytest.raises(OutputError, match="add --overwrite"):
        build_site(index, copy)
    rebuilt = build_site(index, copy, title=f"{HOSTILE}?", overwrite=True)  # ? was no character
    assert contents(copy) == contents(site)
    assert rebuilt.total == sum(len(data) for name, data in contents(site).items() if "license" not in name.name)
    assert "a browser downloads 26 MB to open this site" in caplog.text


def test_a_folder_of_other_files_is_never_replaced(built, tmp_path):
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "index.html").write_text("mine")
    with pytest.raises(OutputError, match="was not written by leafkit"):
        build_site(built[0], tmp_path / "public", overwrite=True)
    assert [file.read_text() for file in (tmp_path / "public").iterdir()] == ["mine"]


def test_npm_is_asked_once_and_runs_nothing(small_packages, npm, tmp_path):
    (npm / "calls").unlink(missing_ok=True)
    for to in ("a", "b"):
        copy_package(small_packages[0], tmp_path / "cache", tmp_path / to)
    assert (npm / "calls").read_text() == "pack @some/tokenizers@1.2.3 --ignore-scripts --silent\n"
    kept = tmp_path / "cache" / "npm" / "some-tokenizers-1.2.3" / "tokenizers.js"
    kept.write_text("changed")
    copy_package(small_packages[0], tmp_path / "cache", tmp_path / "c")
    assert (tmp_path / "c" / "tokenizers.js").read_text() == kept.read_text() == "export {};"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo no network >&2; exit 7", "npm cannot download @some/tokenizers@1.2.3: no network. Check the network"),
        ("cp {registry}/graphs@1.2.3.tgz .", "graphs@1.2.3.tgz from npm has no file package/a.mjs"),
        ("cp {other} .", "its SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}. Check the npm registry"),
        (None, "npm is not installed. Install Node.js"),
    ],
)
def test_what_npm_does_not_deliver_is_an_error(small_packages, script, message, tmp_path, monkeypatch):
    tokenizers, _, registry = small_packages
    other = pack(tmp_path / "other.tgz", {"a.mjs": b"export { hurt };", "LICENSE": b"do"})
    if script is not None:
        write_npm(tmp_path / "bin", script.replace("{registry}", str(registry)).replace("{other}", str(other)))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin" if script else str(tmp_path))
    with pytest.raises(InputError, match=message):
        copy_package(tokenizers, tmp_path / "cache", tmp_path / "vendor")
    assert not (tmp_path / "vendor").exists()


def test_a_hostile_archive_is_an_error(tmp_path, monkeypatch):
    """A link to itself, a file that is too large, and an archive that is cut or changed in the middle."""
    linked = tarfile.TarInfo("package/a")
    linked.type, linked.linkname = tarfile.SYMTYPE, "a"
    archive = pack(tmp_path / "whole.tgz", {"a": numpy.random.default_rng(0).bytes(1 << 18)})
    whole = archive.read_bytes()
    cut, changed = whole[: len(whole) // 2], whole[: 1 << 16] + bytes(1 << 14) + whole[(1 << 16) + (1 << 14) :]
    for content in (gzip.compress(linked.tobuf()), cut, changed):
        (tmp_path / "a.tgz").write_bytes(content)
        with pytest.raises(InputError, match="has no file package/a "):
            _member(tmp_path / "a.tgz", "package/a")
    assert len(_member(archive, "package/a")) == 1 << 18
    monkeypatch.setattr("leafkit.site.npm._MOST_BYTES", (1 << 18) - 1)
    with pytest.raises(InputError, match="it is no regular file of at most 262143 bytes"):
        _member(archive, "package/a")


def test_an_index_that_no_page_can_search_is_refused(build, npm, tmp_path):
    with pytest.raises(OptionError, match="was built without a student"):
        build_site(build([{"text": "a"}], student=None), tmp_path / "public")
    with pytest.raises(OptionError, match="precision is 'float32'"):
        build_site(tmp_path, tmp_path / "public", precision="float32")
    assert not (tmp_path / "public").exists()


@pytest.mark.parametrize(("rows", "missing"), [([{"text": " "}], "titles or texts to show"), ([], "documents")])
def test_a_site_without_anything_to_show_is_refused(build, npm, tmp_path, monkeypatch, rows, missing):
    monkeypatch.setattr("leafkit.site.build.open_student", lambda *_: None)
    with pytest.raises(InputError, match=f"has no {missing}. Build it from documents with texts"):
        build_site(build(rows), tmp_path / "public")
    assert not (tmp_path / "public").exists()


def test_an_index_that_is_replaced_meanwhile_makes_no_site_of_two_indexes(build, npm, tmp_path, monkeypatch):
    index, other = build([{"text": "a"}]), build([{"text": "a"}, {"text": "b"}])

    def replace(*_):
        shutil.rmtree(index)
        shutil.copytree(other, index)

    monkeypatch.setattr("leafkit.site.build.open_student", replace)
    with pytest.raises(InputError, match="was updated or replaced while the site was built"):
        build_site(index, tmp_path / "public")
    assert not (tmp_path / "public").exists()


def test_an_effort_that_no_page_can_run_is_refused(built, tmp_path):
    with pytest.raises(OptionError, match="a site runs a student"):
        build_site(built[0], tmp_path / "public", effort="teacher")
    with pytest.raises(OptionError, match="has no effort 'table'"):
        build_site(built[0], tmp_path / "public", effort="table")


@pytest.mark.slow
def test_an_effort_chooses_the_student_of_the_site(ladder, npm, tmp_path):
    searcher = Searcher.open(ladder)
    for effort, kind, file in ((None, "onnx", "model.onnx"), ("table", "table", "table.bin")):
        site = build_site(ladder, tmp_path / str(effort), effort=effort).folder
        facts = facts_of(site)
        assert sorted(path.name for path in (site / "student").iterdir()) == sorted([file, "tokenizer.json"])
        assert (facts["student"]["kind"], (site / "vendor" / "onnxruntime.js").exists()) == (kind, kind == "onnx")
        used = searcher.encoder if effort is None else searcher.encoder_of(effort)
        wanted = unit_rows(used.encode([facts["golden"]["text"]], "query"))[0]
        assert facts["golden"]["vector"] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.slow  # a rotation goes into the head, which needs the package onnx
def test_a_rotated_index_is_searched_by_its_own_student_alone(build, payload, npm, tmp_path):
    index = build(payload, rotate="random", dim=32)
    with pytest.raises(OptionError, match="is rotated, and bge-small-leaf writes vectors that are not"):
        build_site(index, tmp_path / "public", encoder="bge-small-leaf")
    site = build_site(index, tmp_path / "public").folder
    golden = facts_of(site)["golden"]
    vectors = unit_rows(numpy.fromfile(site / "data/vectors.bin", dtype="<i2").reshape(40, 32).astype(numpy.float32))
    best = Searcher.open(index).search(golden["text"], k=1)
    assert (vectors @ numpy.array(golden["vector"])).max() == pytest.approx(best.scores[0], abs=1e-3)


@pytest.mark.parametrize(("precision", "bound"), [("int16", 2e-5), ("int8", 5e-3)])
def test_whole_numbers_keep_cosines(drawn, precision, bound):
    exact = drawn @ drawn.T
    rounded = unit_rows(encode(drawn, precision).astype(numpy.float32))
    assert numpy.abs(drawn @ rounded.T - exact).max() < bound
    if precision == "int8":
        numpy.testing.assert_array_equal(encode(drawn, precision), encode_int8(drawn, "int8"))
