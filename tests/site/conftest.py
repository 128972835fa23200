"""A small index with the student that ships, the real npm and a small one without a network, and a web server."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from leafkit.errors import InputError
from leafkit.shipped import resolve_student
from leafkit.site.build import build_site
from leafkit.site.npm import NpmPackage
from leafkit.space import Space
from tests.fixtures.packages import index_vectors, update_vectors

STUDENT = "bge-small-leaf"
HOSTILE = '</title><script>hurt = 1</script><img src="//example.org/x.png" onerror="hurt = 1">'


@pytest.fixture(scope="session")
def student_space() -> Space:
    """The space of the student that ships."""
    return Space.from_json(json.loads((resolve_student(STUDENT) / "leafkit.json").read_text())["space"])


@pytest.fixture(scope="session")
def drawn(student_space: Space) -> numpy.ndarray:
    """Forty unit vectors of that space."""
    vectors = numpy.random.default_rng(0).standard_normal((40, student_space.dim)).astype(numpy.float32)
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="session")
def build(student_space: Space, drawn: numpy.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that builds an index of documents with these payloads."""

    def make(payload: list[dict[str, Any]], **options: Any) -> Path:
        ids = [f"doc {row}" for row in range(len(payload))]
        out = tmp_path_factory.mktemp("made") / "docs.index"
        given = {"student": resolve_student(STUDENT), **options}
        return index_vectors(ids, drawn[: len(payload)], student_space, out, payload=payload, **given)

    return make


@contextlib.contextmanager
def real_npm() -> Iterator[Path]:
    """A cache for the packages of a site, which npm downloads once on a machine; skips where npm cannot."""
    try:
        yield Path.home() / ".cache" / "leafkit"
    except InputError as error:
        if "npm is not installed" in str(error) or "npm cannot download" in str(error):
            pytest.skip(str(error))
        raise


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Any]:
    """A server of the files in ``folder``, with the address ``url``."""
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
    server.url = f"http://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def write_npm(folder: Path, script: str) -> Path:
    """A program npm in the new ``folder``; a shell script."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    return folder


def pack(path: Path, files: dict[str, bytes]) -> Path:
    """An archive as npm writes it."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            facts = tarfile.TarInfo(f"package/{name}")
            facts.size = len(content)
            archive.addfile(facts, io.BytesIO(content))
    return path


@pytest.fixture(scope="session")
def small_packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[NpmPackage, NpmPackage, Path]:
    """Two packages, and the folder of an npm that downloads either and counts its calls in the file ``calls``."""
    folder = tmp_path_factory.mktemp("registry")
    files = {"a.mjs": ("tokenizers.js", b"export {};"), "LICENSE": ("tokenizers-license.txt", b"do")}
    graphs = {"b.mjs": ("onnxruntime.js", b"export {};"), "b.wasm": ("onnxruntime.wasm", b"\0asm")}
    packages = []
    for name, given in (("@some/tokenizers", files), ("graphs", graphs)):
        known = {path: (hashlib.sha256(content).hexdigest(), to) for path, (to, content) in given.items()}
        packages.append(NpmPackage(name=name, version="1.2.3", files=known))
        contents = {path: content for path, (_, content) in given.items()}
        pack(folder / f"{name.replace('/', '-')}@1.2.3.tgz", contents)
    script = f'echo "$@" >> {folder}/calls; cp "{folder}/$(echo "$2" | tr / -).tgz" .'
    write_npm(folder / "bin", script)
    return packages[0], packages[1], folder


@pytest.fixture
def npm(monkeypatch: pytest.MonkeyPatch, small_packages: tuple[NpmPackage, NpmPackage, Path]) -> Path:
    """Let sites contain the small packages; the folder of npm."""
    tokenizers, graphs, folder = small_packages
    monkeypatch.setattr("leafkit.site.build.TOKENIZERS", tokenizers)
    monkeypatch.setattr("leafkit.site.build.ONNXRUNTIME", graphs)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
    return folder


@pytest.fixture(scope="session")
def payload() -> list[dict[str, Any]]:
    """Documents of which one is hostile, one is long and one has no title."""
    rows: list[dict[str, Any]] = [{"title": f"title {row}", "text": f"text {row}", "secret": "s3"} for row in range(40)]
    rows[1] = {"title": HOSTILE, "text": f"{HOSTILE} \ud800", "url": "javascript:hurt = 1"}
    rows[2] = {"text": "words " * 200, "url": "https://example.org/2"}
    return rows


@pytest.fixture(scope="session")
def built(
    build: Callable[..., Path],
    payload: list[dict[str, Any]],
    small_packages: tuple[NpmPackage, NpmPackage, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Path]:
    """An index with two documents removed, and its site; never changed."""
    folder = tmp_path_factory.mktemp("sites")
    index = build(payload)
    update_vectors(index, remove=["doc 4", "doc 5"], compact=False)
    with pytest.MonkeyPatch.context() as patch:
        tokenizers, graphs, registry = small_packages
        patch.setattr("leafkit.site.build.TOKENIZERS", tokenizers)
        patch.setattr("leafkit.site.build.ONNXRUNTIME", graphs)
        patch.setenv("PATH", f"{registry / 'bin'}:/usr/bin:/bin")
        build_site(index, folder / "public", title=f"{HOSTILE}\udc80", cache=folder / "cache")
    return index, folder / "public"
