"""`leafkit.build_site`: from an index to a folder that any static web server can publish."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from leafkit.errors import InputError
from leafkit.files.atomic import atomic_folder, check_output_folder, write_json
from leafkit.files.digest import sha256_file
from leafkit.files.options import OverwriteOptions
from leafkit.options import options_of, takes
from leafkit.search.manifest import read_manifest_text
from leafkit.search.package import Package, open_package, retry_during_update
from leafkit.search.query_encoder import QueryEncoder
from leafkit.site.documents import write_documents, write_vectors
from leafkit.site.npm import ONNXRUNTIME, TOKENIZERS, copy_package
from leafkit.site.options import SiteOptions
from leafkit.site.student import open_student, write_student
from leafkit.vectors.cosine import unit_prefix
from leafkit.vectors.store import default_cache

MARKER = "leafkit-site.json"
FORMAT, VERSION = "leafkit-site", 1
# The page compares its vector of this text with leafkit's, and warns where the browser computes otherwise.
GOLDEN = "How do I copy a folder to another machine?"
# A page that downloads more than this is slow to open on a phone, even compressed.
LARGE = 50e6
_LICENSES = ("licenses.txt", "tokenizers-license.txt")  # no browser asks for them

log = logging.getLogger("leafkit")


@dataclass(frozen=True)
class Site:
    """A site that was built: its folder, and the bytes of each file that a browser downloads, by path."""

    folder: Path
    files: dict[str, int]

    @property
    def total(self) -> int:
        """The bytes that a browser downloads before the first search; a server that compresses sends fewer."""
        return sum(self.files.values())


@takes(SiteOptions, OverwriteOptions)
def build_site(
    index: str | Path,
    out: str | Path,
    *,
    encoder: str | Path | None = None,
    effort: str | None = None,
    **options: Any,
) -> Site:
    """Write a static site to the folder ``out`` that searches the index inside the browser, and describe it.

    index: an index folder. The site contains its vectors, and the id, title, start of the text and ``url`` of each
        document. The same index gives the same bytes.
    encoder: overrides the student inside the index: a student folder, or the name of a student that ships.
    effort: which student of an index with several, such as ``table``; the best one by default.

    The page loads nothing from other servers. The JavaScript that it needs comes from npm, in versions whose hashes
    leafkit knows, and is kept in the cache.

    Raises `InputError` for a folder that is not an index, for an index without documents or texts or one that changes
    meanwhile, and if npm is needed but missing; `OptionError` for an index without a student or ``effort``, or one that
    cannot use ``encoder``; `OutputError` if ``out`` holds anything but a site that may be overwritten.
    """
    chosen, output = options_of(SiteOptions, options), options_of(OverwriteOptions, options)
    index, out = Path(index), Path(out)
    check_output_folder(out, marker=MARKER, overwrite=output.overwrite)
    manifest = read_manifest_text(index)
    student = open_student(index, encoder, effort)
    package = retry_during_update(index, lambda: open_package(index, verify=False))  # verified just now
    if read_manifest_text(index) != manifest:
        raise InputError(f"the index {index} was updated or replaced while the site was built. Repeat the command.")
    with package.files, atomic_folder(out, marker=MARKER, overwrite=output.overwrite) as folder:
        facts = _write_data(folder, package, chosen)
        facts["student"] = write_student(student, folder)
        facts["golden"] = {"text": GOLDEN, "vector": _golden(student.encoder, package.manifest.dim)}
        _write_page(folder, chosen.title or index.resolve().stem)
        _write_packages(folder, facts["student"]["kind"], chosen.cache or default_cache())
        facts["files"] = _files(folder)
        write_json(folder / MARKER, {"format": FORMAT, "version": VERSION, **facts})
        site = _described(folder, out)
    if site.total > LARGE:
        log.warning(
            "a browser downloads %.0f MB to open this site. Fewer characters per document, int8 vectors, an index with "
            "a smaller dim, or a token table as the student make it smaller.",
            site.total / 1e6,
        )
    return site


def _golden(student: QueryEncoder, dim: int) -> list[float]:
    vector = unit_prefix(student.encode([GOLDEN]), dim, source="the student's vectors")[0]
    return [round(float(component), 6) for component in vector]


def _write_data(folder: Path, package: Package, options: SiteOptions) -> dict[str, Any]:
    """Write vectors and documents into ``folder``; returns what the page has to know of them."""
    search = package.vector_search()
    rows = search.live_rows()
    (folder / "data").mkdir()
    write_vectors(folder / "data" / "vectors.bin", search, rows, options.precision)
    shown = folder / "data" / "documents.json"
    if not write_documents(shown, package.documents(), rows, options.characters):
        what = "documents" if not len(rows) else "titles or texts to show"
        raise InputError(f"the index {package.folder} has no {what}. Build it from documents with texts.")
    return {
        "documents": len(rows),
        "dim": package.manifest.dim,
        "precision": options.precision,
        "space": {"id": package.teacher_space.id, "teacher": Path(package.teacher_space.teacher).name},
    }


def _write_page(folder: Path, title: str) -> None:
    """Copy the page into ``folder``; ``title`` is escaped."""
    (folder / "page").mkdir()
    for file in (resources.files("leafkit.site") / "page").iterdir():
        content = file.read_text(encoding="utf-8")
        if file.name == "index.html":
            (folder / file.name).write_bytes(content.replace("{title}", escape(title)).encode("utf-8", "replace"))
        else:
            (folder / "page" / file.name).write_text(content, encoding="utf-8")


def _write_packages(folder: Path, kind: str, cache: Path) -> None:
    for package in (TOKENIZERS, *([ONNXRUNTIME] if kind == "onnx" else [])):
        copy_package(package, cache, folder / "vendor")
    licenses = (resources.files("leafkit.site") / "licenses.txt").read_text(encoding="utf-8")
    (folder / "vendor" / "licenses.txt").write_text(licenses, encoding="utf-8")


def _files(folder: Path) -> dict[str, Any]:
    """Return size and hash of each file that the page downloads through `search.js`."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and (path.parent.name in ("data", "student") or path.suffix == ".wasm")
    )
    return {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)} for name in names}


def _described(folder: Path, out: Path) -> Site:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in _LICENSES]
    return Site(out, {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths})
