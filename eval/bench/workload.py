"""The workload of both sides: documents and queries, students of the teacher, and indexes that contain them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from leafkit.errors import OptionError
from leafkit.files.atomic import write_file
from leafkit.texts.read import read_texts

# Texts of each role that the students' heads are fitted on. The quality of the students is not measured here.
FITTED = 1000


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The folder ``work`` of a run, with ``documents`` documents, of which ``distinct`` differ.

    ``students`` are the students to make, as ``leafkit distill --student`` takes them; the first is the main one.
    """

    work: Path
    teacher: str
    documents: int
    distinct: int
    queries: int
    students: tuple[str, ...]

    @property
    def model(self) -> str:
        """The folder or hub id that sentence-transformers opens as the teacher."""
        return model_of(self.teacher)

    @property
    def documents_file(self) -> Path:
        """JSON lines with ``_id``, ``title`` and ``text``."""
        return self.work / "documents.jsonl"

    @property
    def queries_file(self) -> Path:
        """A JSON list of texts."""
        return self.work / "queries.json"

    def student(self, place: int) -> Path:
        """Return the folder of the student number ``place``."""
        return self.work / f"student-{place}"

    def index(self, place: int) -> Path:
        """Return the index package that contains the student number ``place``."""
        return self.work / f"index-{place}"

    @property
    def vectors_file(self) -> Path:
        """The unit vectors of every index, as one array."""
        return self.work / "vectors.npy"


def collect(
    work: Path, teacher: str, data: str, queries: Sequence[str], *, documents: int, students: Sequence[str]
) -> Workload:
    """Write ``documents`` documents of ``data`` (drawn with seed 0) and the ``queries`` into ``work``.

    If there are fewer documents, they are repeated under new ids. Raises `TextError` for bad texts.
    """
    found = list(read_texts(data, role="document"))
    chosen = found if len(found) <= documents else random.Random(0).sample(found, documents)
    rows = islice(((text, turn) for turn in _count() for text in chosen), documents)
    lines = (
        {"_id": f"{text.id}~{turn}" if turn else text.id, "title": text.title, "text": text.text} for text, turn in rows
    )
    asked = list(dict.fromkeys(t.full_text for t in islice(_queries(queries), 50_000)))
    if not asked:
        raise OptionError(f"{', '.join(queries)} contains no query. Name a file of queries with --queries query:FILE.")
    workload = Workload(
        work=work,
        teacher=teacher,
        documents=documents,
        distinct=len({text.full_text for text in chosen}),
        queries=len(asked),
        students=tuple(students),
    )
    work.mkdir(parents=True, exist_ok=True)
    write_file(workload.documents_file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    write_file(workload.queries_file, json.dumps(asked, ensure_ascii=False))
    return workload


def read_documents(path: Path | str) -> list[dict[str, str]]:
    """Read the documents that `collect` wrote."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def read_queries(path: Path | str, count: int) -> list[str]:
    """Read the first ``count`` queries that `collect` wrote, repeated if there are fewer."""
    return list(islice(cycle(json.loads(Path(path).read_bytes())), count))


def model_of(teacher: str) -> str:
    """Return the folder or hub id that sentence-transformers opens for the teacher argument ``teacher``."""
    from leafkit.files.model_folder import package_folder

    return str(package_folder(teacher.removeprefix("package:"))) if teacher.startswith("package:") else teacher


def prepare(work: str, teacher: str, students: Sequence[str], documents: str, queries: str) -> Iterator[dict[str, Any]]:
    """A side that makes each of ``students``, its index, and the vectors of the index as an array."""
    import numpy

    from leafkit.index.build import build_index
    from leafkit.search.package import open_package
    from leafkit.teachers.open import open_teacher
    from leafkit.training.distill import distill

    folder = Path(work)
    rows = [{"text": f"{d['title']} {d['text']}".strip(), "role": "document"} for d in read_documents(documents)]
    asked = [{"text": text, "role": "query"} for text in json.loads(Path(queries).read_bytes())]
    texts = folder / "texts.jsonl"
    write_file(texts, "".join(json.dumps(row) + "\n" for row in rows[:FITTED] + asked[:FITTED]))
    cache, opened = folder / "cache", open_teacher(teacher, device="cpu")
    made = []
    for place, source in enumerate(students):
        student, index = folder / f"student-{place}", folder / f"index-{place}"
        distill(str(texts), opened, source, student, epochs=0, cache=cache, device="cpu", overwrite=True)
        build_index(documents, opened, index, student=student, cache=cache, overwrite=True)
        made.append(_parameters(student))
    search = open_package(folder / "index-0", verify=False).vector_search()
    numpy.save(folder / "vectors.npy", search.vectors(search.live_rows()))
    yield {"parameters": made}


def _parameters(student: Path) -> int:
    from leafkit.students.encoder import open_student

    return sum(parameter.numel() for parameter in open_student(student, device="cpu").model.parameters())


def _queries(sources: Sequence[str]) -> Iterator[Any]:
    return (text for text in read_texts(list(sources)) if text.role in (None, "query"))


def _count() -> Iterator[int]:
    return iter(range(1 << 30))
