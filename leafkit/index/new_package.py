"""Write a new index package: plan it from the options, then fill a new folder that appears only when it is complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy

from leafkit.errors import OutputError
from leafkit.files.atomic import atomic_folder, check_output_folder
from leafkit.index.columns import write_columns
from leafkit.index.coordinates import Coordinates, FittedMaps
from leafkit.index.documents import encode_documents, text_of, write_documents
from leafkit.index.encoder_files import copy_query_encoder, encoder_file_names
from leafkit.index.fill import sample_rows
from leafkit.index.ladder import PlannedRung
from leafkit.index.lexical import LexicalWriter
from leafkit.index.package_files import describe_files, part_name, provenance, spool_name, write_manifest
from leafkit.index.vector_files import VectorStorage, map_blocks, spool, write_vectors
from leafkit.search.arrays import blocks_of
from leafkit.search.documents import Document
from leafkit.search.manifest import (
    DOCUMENT_PARTS,
    FORMAT,
    LEXICAL_PARTS,
    MANIFEST,
    Manifest,
    document_files,
    lexical_files,
    read_rungs,
)
from leafkit.search.manifest_fields import FULL
from leafkit.search.plan import plan_index
from leafkit.space import Space
from leafkit.types import Encoder, Float32
from leafkit.vectors.cosine import check_dim
from leafkit.vectors.fingerprint import FINGERPRINT, Fingerprint
from leafkit.vectors.mapping import MAPPING_FILE
from leafkit.vectors.rotation import SAMPLE

FIRST_GENERATION = 1


@dataclass(frozen=True, kw_only=True)
class PackagePlan:
    """What is decided before documents are read: the students, the coordinates, and how vectors are stored in them.

    ``lexical`` says whether the words of the documents are stored as well.
    """

    rungs: Sequence[PlannedRung]
    coordinates: Coordinates
    storage: VectorStorage
    lexical: bool


def plan_package(
    space: Space,
    rungs: Sequence[PlannedRung],
    *,
    fold: str | PathLike[str] | None = None,
    dim: int | None = None,
    rotate: str | None = None,
    seed: int = 0,
    lexical: bool = True,
    **storage: Any,
) -> PackagePlan:
    """Plan a package of documents in ``space`` with the students of ``rungs``, which come from `plan_ladder`.

    The options are those of `leafkit.build_index`.
    ``storage`` holds precision, factory, rescore and threads. Raises `OptionError` for options that cannot work,
    `SpaceError` for a student of another space and `InputError` for a folder that is not a suitable student.
    """
    students = [rung.folder for rung in rungs]
    coordinates = Coordinates(space, students, folding=fold is not None, dim=dim, rotate=rotate, seed=seed)
    # A fold is reduced to dim numbers as a whole, so no prefix is taken of it.
    prefix = check_dim(None if fold else dim, coordinates.width)
    stored = VectorStorage(dim=prefix, seed=seed, **storage)
    return PackagePlan(rungs=rungs, coordinates=coordinates, storage=stored, lexical=lexical)


def check_output(out: Path, *, overwrite: bool) -> None:
    """Raise `OutputError` unless ``out`` is missing or empty, or is an index and ``overwrite`` is set."""
    check_output_folder(out, marker=MANIFEST, overwrite=overwrite)
    # Much other software writes a file manifest.json as well.
    if (out / MANIFEST).is_file() and f'"{FORMAT}"'.encode() not in (out / MANIFEST).read_bytes():
        raise OutputError(f"{out} already exists and is not a leafkit index. Choose another output path.")


def write_package(
    documents: Iterable[Document],
    encoder: Encoder,
    out: Path,
    plan: PackagePlan,
    *,
    overwrite: bool,
    teacher: Mapping[str, Any] | None,
    fingerprint: Fingerprint | None = None,
) -> Path:
    """Write the package of ``documents``, encoded by ``encoder``, to ``out`` and return that path.

    ``teacher`` records how to open the encoder again, and ``fingerprint`` what it writes. Raises `TextError` for an
    invalid document, `VectorError` for invalid vectors and `OutputError` if ``out`` is not free or the disk is full.
    If the call fails, ``out`` is unchanged.
    """
    check_output(out, overwrite=overwrite)
    with atomic_folder(out, marker=MANIFEST, overwrite=overwrite) as folder:
        encoder_facts = _encoder_facts(plan.rungs)
        encoders = [folder / rung.folder for rung in read_rungs(encoder_facts)]
        for planned, copy in zip(plan.rungs, encoders, strict=True):
            copy_query_encoder(planned.folder, copy)
        manifest = _fill_folder(folder, documents, encoder, plan, encoders)
        written = [name for copy in encoders for name in encoder_file_names(folder, copy)]
        if fingerprint is not None:
            fingerprint.save(folder)
            written.append(FINGERPRINT)
        files = {**manifest.files, **describe_files(folder, written)}
        built = {**provenance(), "teacher": teacher}
        write_manifest(folder, replace(manifest, files=files, encoder=encoder_facts, built=built))
    return out


def _encoder_facts(rungs: Sequence[PlannedRung]) -> dict[str, Any] | None:
    """Return what the manifest says about the students (see `leafkit.search.manifest.read_rungs`)."""
    if not rungs:
        return None
    names = {rung.effort: rung.folder.resolve().name for rung in rungs}
    default = {"student": names[rungs[-1].effort]}
    if [*names] == [FULL]:
        return default
    return {**default, "rungs": {rung.effort: {"student": names[rung.effort], "layers": rung.layers} for rung in rungs}}


def _fill_folder(
    folder: Path, documents: Iterable[Document], encoder: Encoder, plan: PackagePlan, encoders: Sequence[Path]
) -> Manifest:
    """Write documents, vectors and mapping into ``folder``, and return the manifest of these files.

    ``encoders`` are the folders of the query encoders inside, to which the mapping is applied.
    """
    storage = plan.storage
    parts = {part: part_name(part, FIRST_GENERATION) for part in DOCUMENT_PARTS}
    written = write_documents(document_files(folder, parts), documents)
    if plan.lexical:
        words = {part: part_name(part, FIRST_GENERATION) for part in LEXICAL_PARTS}
        with LexicalWriter(lexical_files(folder, words)) as writer:
            writer.add(map(text_of, written))
            writer.finish()
        parts |= words
    parts["columns"] = part_name("columns", FIRST_GENERATION)
    write_columns(folder / parts["columns"], (document.payload for document in written))
    blocks = encode_documents(written, encoder)
    blocks, maps = _fit_coordinates(folder, blocks, len(written), encoder.space.dim, plan)
    spooled = folder / spool_name(FIRST_GENERATION)
    vectors = spool(spooled, map_blocks(blocks, maps.documents), rows=len(written), dim=storage.dim)
    (folder / spool_name(0)).unlink(missing_ok=True)
    _write_mapping(folder, maps, encoders)
    filled, vector_parts = write_vectors(folder, FIRST_GENERATION, vectors, storage)
    del vectors
    spooled.unlink()
    parts |= vector_parts
    return Manifest(
        space=maps.documents.space if maps.documents else encoder.space,
        dim=storage.dim,
        precision=storage.precision,
        factory=plan_index(len(written), storage.precision, storage.factory).factory,
        rescore=filled.rescore,
        rows=len(written),
        count=len(written),
        loss=filled.loss,
        generation=FIRST_GENERATION,
        parts=parts,
        files=describe_files(folder, [*parts.values(), *([MAPPING_FILE] if maps.documents else [])]),
        encoder=None,
        built={},
    )


def _fit_coordinates(
    folder: Path, blocks: Iterator[Float32], rows: int, width: int, plan: PackagePlan
) -> tuple[Iterator[Float32], FittedMaps]:
    """Return the teacher's vectors in blocks, and the maps to apply to them.

    If a map is fitted to the documents, all vectors are first spooled at the teacher's ``width``.
    """
    if not plan.coordinates.fitted_to_documents:
        return blocks, plan.coordinates.fit(numpy.empty((0, width), dtype=numpy.float32))
    vectors = spool(folder / spool_name(0), blocks, rows=rows, dim=width)
    return blocks_of(vectors), plan.coordinates.fit(sample_rows(vectors, SAMPLE, plan.storage.seed))


def _write_mapping(folder: Path, maps: FittedMaps, encoders: Sequence[Path]) -> None:
    """Write the documents' map into ``folder``, and let the query ``encoders`` inside write the same coordinates."""
    if maps.documents is None:
        return
    maps.documents.save(folder)
    if maps.student_head is not None and encoders:
        from leafkit.onnx.head import map_head  # needs the package onnx

        for encoder in encoders:
            map_head(encoder, maps.student_head, maps.documents.space)
