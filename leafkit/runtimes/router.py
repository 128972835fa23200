"""`leafkit.export_router`: one sentence-transformers model of a student for queries and its teacher for documents.

The folder has the form of the published asymmetric models, such as MongoDB/mdbr-leaf-ir-asym: a `Router` whose route
``query`` holds the modules of the student and whose route ``document`` those of the teacher.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy

from leafkit.extras import explain_missing_extras
from leafkit.files.atomic import atomic_folder, check_output_folder, write_file, write_json
from leafkit.files.options import OverwriteOptions
from leafkit.onnx.teacher import open_model
from leafkit.options import options_of, takes
from leafkit.space import Space, describe
from leafkit.students.encoder import StudentEncoder, open_student
from leafkit.students.folder import read_student
from leafkit.students.golden import compare_export
from leafkit.teachers.options import TeacherOptions
from leafkit.teachers.same_space import RecordedSpace, adopt
from leafkit.types import Encoder, Float32, Role, Teacher
from leafkit.vectors.golden_texts import GOLDEN
from leafkit.vectors.mapping import LinearMap, map_teacher, read_mapping

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

MARKER = "leafkit-router.json"
FORMAT, VERSION = "leafkit-router", 1

CARD = """---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags: [sentence-transformers, feature-extraction, sentence-similarity, knowledge-distillation, asymmetric, leafkit]
---

# {name}

An asymmetric text encoder: queries are encoded by a small student, documents by its teacher **{teacher}**. Both write
into one vector space, {space}.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}")
queries = model.encode_query(["how do I list files?"])
documents = model.encode_document(["ls lists the files of a folder"])
```

The prompts are built in. `model.encode` without a role takes the teacher. The model was put together by leafkit from
the student `{student}`, whose card says how it was trained. The licences of the student, of its training texts and of
the teacher apply.
"""

logger = logging.getLogger("leafkit")


@takes(TeacherOptions, OverwriteOptions)
def export_router(student: str | PathLike[str], teacher: str | Path, out: str | PathLike[str], **options: Any) -> Path:
    """Write the student and its teacher as one sentence-transformers model at ``out`` and return its path.

    student: the folder of a student with torch weights.
    teacher: the model whose space the student writes into: a folder, a hub id or ``package:NAME``.
    out: a folder for ``SentenceTransformer(out)``, whose ``encode_query`` gives the student's vectors and whose
        ``encode_document`` the teacher's, after the student's rotation if there is one.

    Raises `SpaceError` for a teacher of another space, `InputError` for a teacher that is not a sentence-transformers
    model, and `ExportError` unless the folder, opened again, gives both models' vectors of the golden texts.
    """
    out, overwrite = Path(out), options_of(OverwriteOptions, options).overwrite
    check_output_folder(out, marker=MARKER, overwrite=overwrite)
    with explain_missing_extras():
        from leafkit.students.other_runtimes import describe_router_for_other_runtimes
        from leafkit.students.source import quiet_transformers
    opening = options_of(TeacherOptions, options)
    queries = open_student(student, device="cpu")
    opened, modules = open_model(teacher, opening)
    recorded = RecordedSpace.of_student(Path(student))
    documents = adopt(opened, recorded, name=f"the teacher {teacher}", fixed=opening.given())
    mapping = read_mapping(read_student(student).path, queries.space)
    mapped = map_teacher(documents, mapping)
    routes: dict[Role, Sequence[nn.Module]] = {
        "query": list(queries.model),
        "document": [*modules, *_rotation(mapping)],
    }
    with atomic_folder(out, marker=MARKER, overwrite=overwrite) as made:
        with quiet_transformers():
            _router(queries, routes).save_pretrained(str(made), create_model_card=False)
        describe_router_for_other_runtimes(made, routes)
        _describe(made, out.name, queries.space, Path(student).resolve().name)
        _prove(made, queries, mapped)
    return out


def _router(queries: StudentEncoder, routes: Mapping[Role, Sequence[nn.Module]]) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Router

    from leafkit.students.body import drop_pooler
    from leafkit.students.student import transformer_of

    for modules in routes.values():
        transformer = transformer_of(modules)
        if transformer is not None:
            drop_pooler(transformer)
    router = Router(cast(Any, routes), default_route="document")
    prompts: Any = {"query": queries.prompts["query"], "document": queries.space.document_prompt}
    return SentenceTransformer(modules=[router], device="cpu", prompts=prompts, similarity_fn_name="cosine")


def _rotation(mapping: LinearMap | None) -> list[nn.Module]:
    """Return the module that turns the teacher's vectors into the coordinates of the student, if there are others."""
    import torch
    from sentence_transformers.sentence_transformer.modules import Dense

    if mapping is None:
        return []
    rows, width = mapping.documents.shape
    dense = Dense(width, rows, bias=False, activation_function=torch.nn.Identity())
    dense.linear.weight = torch.nn.Parameter(torch.from_numpy(mapping.documents.copy()))
    return [dense]


def _describe(folder: Path, name: str, space: Space, student: str) -> None:
    record = {"format": FORMAT, "version": VERSION, "space": space.to_json(), "student": student}
    write_json(folder / MARKER, record)
    card = CARD.format(name=name, teacher=space.teacher, space=describe(space), student=student)
    write_file(folder / "README.md", card.encode("utf-8", "replace"))


def _prove(folder: Path, student: Encoder, teacher: Teacher) -> None:
    """Open ``folder`` as its users do, and compare its vectors of the golden texts with those of both models."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    sides: dict[Role, tuple[Encoder, Any]] = {
        "query": (student, model.encode_query),
        "document": (teacher, model.encode_document),
    }
    for role, (encoder, encode) in sides.items():
        texts = [text for text, _ in GOLDEN]
        expected: Float32 = numpy.concatenate([encoder.encode([text], role) for text in texts])
        got = numpy.stack([encode(text, show_progress_bar=False) for text in texts])
        figures = compare_export("float32", expected, got)
        logger.info("%s vectors agree: least cosine %.5f", role, figures["least_cosine"])
