"""Documents to an index package, encoded by the teacher, with the student inside that will encode the queries."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError, OutputError
from leafkit.files.atomic import atomic_folder, check_output_folder
from leafkit.files.options import OutputOptions
from leafkit.index.assemble import (
    IndexOptions,
    VectorsOf,
    check_given,
    mapped_blocks,
    some_rows,
    spool,
    store_vectors,
    teacher_vectors,
)
from leafkit.index.coordinates import Coordinates
from leafkit.index.options import BuildOptions
from leafkit.options import options_of, takes
from leafkit.search.documents import Document, Documents, write_documents
from leafkit.search.manifest import (
    DOCUMENT_PARTS,
    ENCODER,
    FORMAT,
    MANIFEST,
    Manifest,
    describe_files,
    document_files,
    how,
    part_name,
    write_manifest,
)
from leafkit.search.package import SPOOL
from leafkit.search.plan import plan_index
from leafkit.search.rescoring import blocks_of
from leafkit.shipped import resolve_student
from leafkit.space import Space
from leafkit.teachers.open import open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.options import ReadingOptions
from leafkit.texts.read import read_texts
from leafkit.texts.record import Text
from leafkit.types import Teacher
from leafkit.vectors.mapping import MAPPING_FILE
from leafkit.vectors.rotation import SAMPLE

log = logging.getLogger("leafkit")

Sources = str | PathLike[str] | Sequence[str | PathLike[str]]


@takes(BuildOptions, ReadingOptions, TeacherOptions, OutputOptions)
def build_index(
    documents: Sources,
    teacher: str | Path | Teacher,
    out: str | Path,
    *,
    student: str | Path | None = None,
    **options: Any,
) -> Path:
    """Build an index package at ``out`` and return its path.

    documents: files or folders of texts (see `leafkit.read_texts`), or a vectors file that is the teacher as well.
    teacher: the model that wrote or writes the documents' vectors (see `leafkit.open_teacher`). Its vectors are cached.
    student: a distilled student of that teacher's space, or the name of one that ships. Its query encoder is copied
        into the package.

    All documents are read before any is encoded, so a bad row or a repeated id is found early. While building, the
    disk needs 4 x dim bytes per document besides the package, and as much again at the teacher's width if ``rotate``,
    or ``fold`` with ``dim``, is fitted to the documents.

    Raises `TextError` for documents, `OptionError` for options, `SpaceError` for a student of another space and
    `OutputError` if ``out`` holds something or the disk is full. A failed call leaves ``out`` as it was.
    """
    out = Path(out)
    storage, reading = options_of(BuildOptions, options), options_of(ReadingOptions, options)
    opening, files = options_of(TeacherOptions, options), options_of(OutputOptions, options)
    _check_out(out, overwrite=files.overwrite)
    read = read_documents(documents, reading)
    opened = open_with(teacher, opening)
    student, coordinates, planned = _planned(opened.space, student, storage)
    return _build(
        read,
        teacher_vectors(through_cache(opened, files.cache)),
        opened.space,
        out,
        coordinates=coordinates,
        options=planned,
        student=student,
        overwrite=files.overwrite,
        facts={"teacher": _argument(teacher, opening)},
    )


def index_vectors(
    ids: Sequence[str],
    vectors: NDArray[Any],
    space: Space,
    out: str | Path,
    *,
    payload: Sequence[Mapping[str, Any]] | None = None,
    student: str | Path | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Build an index package of ``vectors`` (rows, space.dim) that are there already; options as in `build_index`.

    Raises `VectorError` unless ids, payload and vectors have as many rows, `TextError` for an id that occurs twice.
    """
    check_given(vectors, ids, payload, dim=space.dim)
    student, coordinates, planned = _planned(space, student, BuildOptions(**options))
    documents = (Document(name, {} if payload is None else payload[row]) for row, name in enumerate(ids))
    return _build(
        documents,
        lambda _: blocks_of(vectors),
        space,
        Path(out),
        coordinates=coordinates,
        options=planned,
        student=student,
        overwrite=overwrite,
        facts={"teacher": None},
    )


def read_documents(sources: Sources, reading: ReadingOptions) -> Iterator[Document]:
    """Every document of ``sources``; queries among them are left out and counted.

    Raises `TextError`: for a source that is not there at once, for a bad row as it comes.
    """
    paths = [sources] if isinstance(sources, str | PathLike) else sources
    # A vectors file .npy has its texts in the .jsonl beside it.
    paths = [Path(path).with_suffix(".jsonl") if str(path).endswith(".npy") else path for path in paths]
    texts = read_texts(paths, role="document", unique_ids=reading.skip_bad, **reading.only(ReadingOptions))
    return _documents(texts)


def _documents(texts: Iterator[Text]) -> Iterator[Document]:
    queries = 0
    for text in texts:
        if text.role == "query":
            queries += 1
            continue
        own = {"title": text.title} if text.title else {}
        rest = {name: its for name, its in text.payload.items() if name != "text"}
        yield Document(text.id, {**own, "text": text.text, **rest})
    if queries:
        log.warning("left out %d texts whose role is query: an index holds documents", queries)


def through_cache(teacher: Teacher, cache: Path | None) -> Teacher:
    """``teacher`` behind the vector cache, unless it only looks vectors up."""
    from leafkit.vectors.cached import cached
    from leafkit.vectors.store import is_exact

    if not is_exact(teacher):
        log.warning("the documents are encoded by a student: the teacher's own vectors give better hits")
        return teacher
    return cached(teacher, cache) if "online" in teacher.signals else teacher


def _build(
    documents: Iterable[Document],
    vectors_of: VectorsOf,
    space: Space,
    out: Path,
    *,
    coordinates: Coordinates,
    options: IndexOptions,
    student: str | Path | None,
    overwrite: bool,
    facts: Mapping[str, Any],
) -> Path:
    _check_out(out, overwrite=overwrite)
    with atomic_folder(out, marker=MANIFEST, overwrite=overwrite) as folder:
        _copy_encoder(student, folder)
        about = None if student is None else {"student": Path(student).resolve().name}
        manifest = _fill(folder, documents, vectors_of, space, coordinates, options)
        files = {**manifest.files, **describe_files(folder, _encoder_files(folder))}
        write_manifest(folder, replace(manifest, files=files, encoder=about, built={**how(), **facts}))
    return out


def _fill(
    folder: Path,
    documents: Iterable[Document],
    vectors_of: VectorsOf,
    space: Space,
    coordinates: Coordinates,
    options: IndexOptions,
) -> Manifest:
    """Write documents and vectors into ``folder``, have the encoder there write their coordinates, and describe all."""
    parts = {part: part_name(part, 1) for part in DOCUMENT_PARTS}
    files = document_files(folder, parts)
    rows = write_documents(files, documents)
    spooled = folder / f"{SPOOL}-1.raw"
    blocks = vectors_of(Documents(files))
    sample = numpy.empty((0, space.dim), dtype=numpy.float32)
    if coordinates.fits_documents:
        whole = spool(folder / f"{SPOOL}-0.raw", blocks, rows=rows, dim=space.dim)
        sample, blocks = some_rows(whole, SAMPLE, options.seed), blocks_of(whole)
    fitted = coordinates.fitted(sample)
    mapping = fitted.documents
    vectors = spool(spooled, mapped_blocks(blocks, mapping), rows=rows, dim=options.dim)
    (folder / f"{SPOOL}-0.raw").unlink(missing_ok=True)
    if mapping is not None:
        mapping.save(folder)
        if fitted.student is not None and (folder / ENCODER).is_dir():
            from leafkit.onnx.head import map_head

            map_head(folder / ENCODER, fitted.student, mapping.space)
    built, vector_parts = store_vectors(folder, 1, vectors, options)
    del vectors
    spooled.unlink()
    parts |= vector_parts
    return Manifest(
        space=mapping.space if mapping else space,
        dim=options.dim,
        precision=options.precision,
        factory=plan_index(rows, options.precision, options.factory).factory,
        rescore=built.rescore,
        rows=rows,
        count=rows,
        loss=built.loss,
        generation=1,
        parts=parts,
        files=describe_files(folder, [*parts.values(), *([MAPPING_FILE] if mapping else [])]),
        encoder=None,
        built={},
    )


def _check_out(out: Path, *, overwrite: bool) -> None:
    """Raise `OutputError` unless ``out`` is free or an index to overwrite: much else has a manifest.json."""
    check_output_folder(out, marker=MANIFEST, overwrite=overwrite)
    if (out / MANIFEST).is_file() and f'"{FORMAT}"'.encode() not in (out / MANIFEST).read_bytes():
        raise OutputError(f"{out} holds something that is not an index; choose another output")


def _argument(teacher: str | Path | Teacher, options: TeacherOptions) -> dict[str, Any] | None:
    """What opens the same teacher again for an update; None for a teacher that was open already."""
    if not isinstance(teacher, str | Path):
        return None
    given = {option: getattr(options, option) for option in sorted(options.given())}
    if "teacher_space" in given:
        given["teacher_space"] = _place(given["teacher_space"])
    return {"argument": _place(teacher), "options": given}


def _place(name: str | Path) -> str:
    """``name``, absolute where it is a path: an update may be run from another folder."""
    return str(Path(name).resolve() if Path(name).exists() else name)


def _planned(
    space: Space, student: str | Path | None, storage: BuildOptions
) -> tuple[Path | None, Coordinates, IndexOptions]:
    """The student of the index, the coordinates it needs, and how vectors are stored in them."""
    fold = storage.fold
    if fold is not None and student is not None and Path(fold).resolve() != Path(student).resolve():
        raise OptionError(
            f"the index is folded for the student {fold}, so {student} cannot search it. Give only one of the two."
        )
    student = student if fold is None else Path(fold)
    path = None if student is None else resolve_student(student)
    coordinates = Coordinates(
        space, path, folding=fold is not None, dim=storage.dim, rotate=storage.rotate, seed=storage.seed
    )
    # A fold is cut as a whole, so no prefix is taken of it.
    prefix = None if fold else storage.dim
    return (
        path,
        coordinates,
        IndexOptions.checked(
            coordinates.width,
            dim=prefix,
            seed=storage.seed,
            precision=storage.precision,
            factory=storage.factory,
            rescore=storage.rescore,
            threads=storage.threads,
        ),
    )


def _copy_encoder(student: str | Path | None, folder: Path) -> None:
    if student is not None:
        from leafkit.search.query_encoder import copy_runtime

        copy_runtime(Path(student), folder / ENCODER)


def _encoder_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in (folder / ENCODER).rglob("*") if path.is_file())
