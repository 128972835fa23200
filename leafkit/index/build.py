"""Documents to an index package, encoded by the teacher, with the student inside that will encode the queries."""

from __future__ import annotations

import dataclasses
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
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.read import read_texts
from leafkit.texts.record import Text
from leafkit.types import Teacher
from leafkit.vectors.mapping import MAPPING_FILE
from leafkit.vectors.rotation import SAMPLE

log = logging.getLogger("leafkit")

Sources = str | PathLike[str] | Sequence[str | PathLike[str]]


def build_index(
    documents: Sources,
    teacher: str | Path | Teacher,
    out: str | Path,
    *,
    student: str | Path | None = None,
    factory: str | None = None,
    dim: int | None = None,
    precision: str = "float32",
    rescore: str | None = None,
    fold: str | Path | None = None,
    rotate: str | None = None,
    cache: Path | None = None,
    overwrite: bool = False,
    skip_bad: bool = False,
    text_column: str | None = None,
    id_column: str | None = None,
    seed: int = 0,
    threads: int | None = None,
    teacher_options: TeacherOptions | None = None,
) -> Path:
    """Build an index package at ``out`` and return its path.

    documents: files or folders of texts (see `leafkit.read_texts`), or a vectors file that is the teacher as well.
    teacher: what wrote or writes the documents' vectors (see `leafkit.open_teacher`); cached, so each is made once.
    student: a distilled student of that teacher's space, or the name of one that ships; its query encoder is copied
        into the package.
    factory: a FAISS factory string; by default exact up to 50,000 documents (a million if binary), HNSW32 up to a
        million, inverted lists above.
    dim: keep this many leading components, scaled to length 1 again.
    precision: what the index holds: float32, float16, int8 or int4 (ranges fitted to the documents), or binary
        (sign bits).
    rescore: vectors kept on disk to score hits with: none, int8, float16 or float32; by default int8 for binary,
        float16 for other storage that loses more than 2e-4 of cosine, none for the rest.
    fold: a student in place of ``student``; the index keeps of each document only what this student's queries can tell
        apart, its width + 1 numbers (+ 2 for a token table), with the same cosines, and serves no other. With
        ``dim``, the most telling of them (`leafkit.index.fold`).
    rotate: pca, itq or random, before a prefix or sign bits are taken (`leafkit.vectors.rotation`).
    skip_bad: leave out rows that cannot be used, and documents whose id came before.
    threads: of FAISS while building; by default all cores.
    teacher_options: how ``teacher`` is opened where it is not open yet.

    The documents are read before any is encoded, so a bad row or an id that occurs twice costs nothing. While it
    runs it needs room on disk for 4 x dim bytes a document more than the package, and for as much again at the
    teacher's width where ``rotate``, or ``fold`` with ``dim``, is fitted to the documents.

    Raises `TextError` for documents, `OptionError` for options, `SpaceError` for a student of another space and
    `OutputError` where ``out`` holds something or the disk is full. Whatever happens, ``out`` is whole or as before.
    """
    from leafkit.teachers.open import open_teacher

    out = Path(out)
    _check_out(out, overwrite=overwrite)
    teacher_options = teacher_options or TeacherOptions()
    read = read_documents(documents, skip_bad=skip_bad, text_column=text_column, id_column=id_column)
    opened = open_teacher(teacher, **dataclasses.asdict(teacher_options))
    storage = {"precision": precision, "factory": factory, "rescore": rescore, "threads": threads}
    student, coordinates, options = _planned(
        opened.space, student, fold=fold, dim=dim, rotate=rotate, seed=seed, storage=storage
    )
    return _build(
        read,
        teacher_vectors(through_cache(opened, cache)),
        opened.space,
        out,
        coordinates=coordinates,
        options=options,
        student=student,
        overwrite=overwrite,
        facts={"teacher": _argument(teacher, teacher_options)},
    )


def index_vectors(
    ids: Sequence[str],
    vectors: NDArray[Any],
    space: Space,
    out: str | Path,
    *,
    payload: Sequence[Mapping[str, Any]] | None = None,
    student: str | Path | None = None,
    factory: str | None = None,
    dim: int | None = None,
    precision: str = "float32",
    rescore: str | None = None,
    fold: str | Path | None = None,
    rotate: str | None = None,
    overwrite: bool = False,
    seed: int = 0,
    threads: int | None = None,
) -> Path:
    """Build an index package of ``vectors`` (rows, space.dim) that are there already; options as in `build_index`.

    Raises `VectorError` unless ids, payload and vectors have as many rows, `TextError` for an id that occurs twice.
    """
    check_given(vectors, ids, payload, dim=space.dim)
    storage = {"precision": precision, "factory": factory, "rescore": rescore, "threads": threads}
    student, coordinates, options = _planned(
        space, student, fold=fold, dim=dim, rotate=rotate, seed=seed, storage=storage
    )
    documents = (Document(name, {} if payload is None else payload[row]) for row, name in enumerate(ids))
    return _build(
        documents,
        lambda _: blocks_of(vectors),
        space,
        Path(out),
        coordinates=coordinates,
        options=options,
        student=student,
        overwrite=overwrite,
        facts={"teacher": None},
    )


def read_documents(
    sources: Sources, *, skip_bad: bool, text_column: str | None, id_column: str | None
) -> Iterator[Document]:
    """Every document of ``sources``; queries among them are left out and counted.

    Raises `TextError`: for a source that is not there at once, for a bad row as it comes.
    """
    paths = [sources] if isinstance(sources, str | PathLike) else sources
    # A vectors file .npy has its texts in the .jsonl beside it.
    paths = [Path(path).with_suffix(".jsonl") if str(path).endswith(".npy") else path for path in paths]
    return _documents(
        read_texts(
            paths, role="document", skip_bad=skip_bad, text_column=text_column, id_column=id_column, unique_ids=skip_bad
        )
    )


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
            from leafkit.onnx.head import change_head

            change_head(folder / ENCODER, fitted.student, mapping.space)
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
    space: Space,
    student: str | Path | None,
    *,
    fold: str | Path | None,
    dim: int | None,
    rotate: str | None,
    seed: int,
    storage: Mapping[str, Any],
) -> tuple[Path | None, Coordinates, IndexOptions]:
    """The student of the index, the coordinates it asks for, and how vectors are stored in them."""
    if fold is not None and student is not None and Path(fold).resolve() != Path(student).resolve():
        raise OptionError(
            f"the index is folded for the student {fold}, so {student} cannot search it; give one of them"
        )
    student = student if fold is None else fold
    path = None if student is None else resolve_student(student)
    coordinates = Coordinates(space, path, folding=fold is not None, dim=dim, rotate=rotate, seed=seed)
    # A fold is cut as a whole, where a prefix would be taken otherwise.
    prefix = None if fold else dim
    return path, coordinates, IndexOptions.checked(coordinates.width, dim=prefix, seed=seed, **storage)


def _copy_encoder(student: str | Path | None, folder: Path) -> None:
    if student is not None:
        from leafkit.search.query_encoder import copy_runtime

        copy_runtime(Path(student), folder / ENCODER)


def _encoder_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in (folder / ENCODER).rglob("*") if path.is_file())
