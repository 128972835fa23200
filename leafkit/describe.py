"""Describe a file or folder (cache, student, index, vectors file, teacher, collection) and verify its checksums."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from leafkit.errors import InputError
from leafkit.files.json_file import explain_invalid, read_json_object
from leafkit.prompts import Prompts, describe_prompts
from leafkit.shipped import resolve_student, shipped_hint
from leafkit.space import Space, describe
from leafkit.students.held_out import overlap_text

if TYPE_CHECKING:
    from leafkit.search.columns import Columns
    from leafkit.search.manifest import Rung
    from leafkit.vectors.fingerprint import Fingerprint

Facts = dict[str, Any]


def info(anything: str | Path) -> Facts:
    """Return facts about the file or folder ``anything``: ``kind``, then space and counts, then ``health``.

    ``anything`` is a path or the name of a student that ships with leafkit. All checksums that leafkit wrote are
    verified. Raises `DamageError` for a damaged file and `InputError` for a file or folder of an unknown kind.
    """
    path = resolve_student(anything)
    if not path.exists():
        raise InputError(f"{path} does not exist.{shipped_hint(path)}")
    for marker, describe_kind in (
        (path / "leafkit.json", _student),
        (path / "manifest.json", _manifest),
        (path / "modules.json", _teacher),
        (path / "tokenizer.json", _teacher),
    ):
        if marker.is_file():
            return describe_kind(path)
    if path.is_file():
        return _vectors_file(path)
    return _folder(path)


def _student(path: Path) -> Facts:
    from leafkit.search.query_encoder import FILES, ExportRecord, QueryEncoder
    from leafkit.students.contents import MARKER
    from leafkit.students.folder import check_files, read_student
    from leafkit.vectors.fingerprint import read_fingerprint
    from leafkit.vectors.mapping import MAPPING_FILE, read_mapping

    facts = read_student(path)
    formats, checks = [], []
    # The query encoder inside an index has only the files of the export.
    is_encoder = facts.runtime_only and not (path / "modules.json").is_file()
    if not is_encoder:
        check_files(facts)
        checks.append(f"the student's {'files' if facts.version > 1 else 'weights'} match their checksums")
    mapping = None
    # The query encoder inside an index may leave its mapping out: the index stores it next to the vectors.
    if not facts.runtime_only or (path / MAPPING_FILE).is_file():
        mapping = read_mapping(path, facts.space)
    fingerprint = read_fingerprint(path, mapping.base if mapping else facts.space)
    if not facts.runtime_only:
        formats.append("torch")
    if (path / "onnx").is_dir():
        record = ExportRecord.read(path)
        for name in record.files:
            if not facts.runtime_only or (path / name).is_file():
                record.check(path, name)
        formats += [f"{name} ONNX" for name in record.precisions if (path / FILES[name]).is_file()]
        QueryEncoder.open(path)
        checks.append("the exported files match their checksums")
        checks.append("the ONNX file returns the golden vectors on this machine")
    with explain_invalid(path / MARKER, expected="a description of a student", advice="Distil the student again."):
        training = _training(facts.training)
    return {
        "kind": "student",
        "space": describe(facts.space),
        **({"prompts": _own_prompts(facts.prompts)} if facts.has_own_prompts else {}),
        "fingerprint": _fingerprint(fingerprint),
        "weights": ", ".join(formats) + (_completion(path) if facts.runtime_only and not is_encoder else ""),
        **training,
        "health": f"intact: {', '.join(checks)}",
    }


def _completion(path: Path) -> str:
    """Return how the student in ``path``, which has ONNX files alone, becomes complete."""
    return f"; `leafkit export {path.name} --out FOLDER` writes a folder with torch weights for every runtime"


def _own_prompts(prompts: Prompts) -> str:
    return f"{describe_prompts(prompts)}, in place of the teacher's"


def _fingerprint(fingerprint: Fingerprint | None) -> str:
    return "none, so the space is known by its id alone" if fingerprint is None else str(fingerprint)


def _training(training: Facts) -> Facts:
    """Return a few facts about how a student was trained; none for a student that leafkit did not distil."""
    if not training:
        return {}
    start, best = training["start"], training["best"]
    return {
        "student": training["student"],
        **({"layers": training["head"]["layers"]} if "layers" in training["head"] else {}),
        "texts": training["data"]["training"],
        "steps": training["steps"],
        "held-out cosine": f"{start['cosine_mean']:.4f} at the start, {best['cosine_mean']:.4f} at step {best['step']}",
        "held-out overlap@10": _overlap(training),
        "command": training["command"],
    }


def _overlap(training: Facts) -> str:
    """Return the overlap of neighbours before and after training, or why it was not measured."""
    start, best = (
        overlap_text(training[when]["overlap_at_10"], training["data"]["validation"]) for when in ("start", "best")
    )
    return best if best == start else f"{start} at the start, {best}"


def _manifest(path: Path) -> Facts:
    file = path / "manifest.json"
    with explain_invalid(file, expected="a manifest", advice="Copy the folder again or write it again."):
        written_format = read_json_object(file).get("format")
    if written_format == "leafkit-index":
        return _index(path)
    if written_format == "leafkit-vectors":
        return _store(path)
    raise InputError(
        f"{file} has the format {written_format!r}; expected 'leafkit-index' or 'leafkit-vectors'. "
        "Another program or a newer version of leafkit wrote the folder."
    )


def _index(path: Path) -> Facts:
    from leafkit.search.package import open_package

    package = open_package(path, verify=True)
    manifest = package.manifest
    shown = ("count", "dim", "precision", "factory", "rescore", "metric")
    lexical = package.lexical()
    return {
        "kind": "index",
        "space": describe(manifest.space),
        "fingerprint": _fingerprint(package.fingerprint()),
        **{name: getattr(manifest, name) for name in shown},
        "students": ", ".join(map(_rung, manifest.rungs)) or "none: search with vectors",
        **_columns(package.columns()),
        "words": "none: no hybrid search" if lexical is None else len(lexical.words),
        "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        "health": "intact: every file matches its checksum",
    }


def _rung(rung: Rung) -> str:
    """Return a student of an index with its effort, for example ``small (my-student, 3 layers)``."""
    if rung.layers is None:
        return f"{rung.effort} ({rung.student})"
    what = "token table" if rung.layers == 0 else f"{rung.layers} layer{'s' if rung.layers > 1 else ''}"
    return f"{rung.effort} ({rung.student}, {what})"


def _columns(columns: Columns | None) -> Facts:
    """Return which columns filters may name, with their types, and which fields they may not, with the reasons."""
    if columns is None:
        return {"columns": "none: an older leafkit built the index"}
    names = ", ".join(f"{name} ({kind})" for name, kind in columns.schema.types.items())
    left_out = "; ".join(f"{name} {reason}" for name, reason in columns.schema.left_out.items())
    return {"columns": names or "none", **({"no columns": left_out} if left_out else {})}


def _store(path: Path) -> Facts:
    from leafkit.vectors.store import VectorStore

    file = path / "manifest.json"
    with explain_invalid(file, expected="a manifest of teacher vectors", advice=f"Delete {path}."):
        manifest = read_json_object(file)
        space = Space.from_json(manifest["space"], where=str(file))
        dtype = str(manifest["dtype"])
    store = VectorStore.open(path.parent, space, dtype=dtype)
    store.verify()
    return {
        "kind": "teacher vectors",
        "space": describe(space),
        "texts": len(store),
        "precision": dtype,
        "health": "intact: every block matches its checksum",
    }


def _teacher(path: Path) -> Facts:
    from leafkit.teachers.open import open_teacher

    teacher = open_teacher(path)
    return {"kind": "teacher", "space": describe(teacher.space), "signals": ", ".join(sorted(teacher.signals))}


def _vectors_file(path: Path) -> Facts:
    from leafkit.teachers.options import TeacherOptions
    from leafkit.teachers.vectors_file import VectorsFileTeacher

    teacher = VectorsFileTeacher.open(path, TeacherOptions())
    return {"kind": "vectors file", "space": describe(teacher.space), "vectors": len(teacher), "health": "readable"}


def _folder(path: Path) -> Facts:
    parts = sorted(manifest.parent for manifest in path.glob("*/manifest.json"))
    if parts:
        return {"kind": "folder of leafkit's files", **{part.name: info(part) for part in parts}}
    if any(path.glob("corpus.jsonl*")):
        from leafkit.texts.beir import read_corpus, read_queries

        return {
            "kind": "collection in BEIR layout",
            "documents": sum(1 for _ in read_corpus(path)),
            "queries": len(read_queries(path)),
            "judgements": ", ".join(sorted(file.stem for file in path.glob("qrels/*.tsv*"))),
        }
    from leafkit.vectors.vectors_file import is_vectors_file

    if is_vectors_file(path):
        return _vectors_file(path)
    raise InputError(
        f"{path} is of an unknown kind; expected a student, an index, a vector cache, a teacher, a vectors file or a "
        "folder in BEIR layout."
    )
