"""What a file or folder is: a cache, student, index, vectors file, teacher or collection, and whether it is whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from leafkit.errors import DamageError, InputError
from leafkit.shipped import resolve_student, shipped_hint
from leafkit.space import Space, describe

Facts = dict[str, Any]


def info(anything: str | Path) -> Facts:
    """Facts about what is at ``anything``, first its ``kind``, then its space and counts, last its ``health``.

    Every checksum that leafkit wrote is read again. Raises `DamageError` for a damaged file and `InputError`
    for something that leafkit does not know.
    """
    path = resolve_student(anything)
    if not path.exists():
        raise InputError(f"{path} does not exist{shipped_hint(path)}")
    for test, look in (
        (path / "leafkit.json", _student),
        (path / "manifest.json", _manifest),
        (path / "modules.json", _teacher),
        (path / "tokenizer.json", _teacher),
    ):
        if test.is_file():
            return look(path)
    if path.is_file():
        return _vectors_file(path)
    return _folder(path)


def _student(path: Path) -> Facts:
    from leafkit.search.query_encoder import FILES, ExportRecord, QueryEncoder
    from leafkit.students.folder import check_weights, read_student
    from leafkit.vectors.mapping import MAPPING_FILE, read_mapping

    facts = read_student(path)
    # The encoder inside an index has its mapping there, beside the vectors.
    if not facts.runtime_only or (path / MAPPING_FILE).is_file():
        read_mapping(path, facts.space)
    held, checked = [], []
    if not facts.runtime_only:
        check_weights(facts)
        held.append("torch")
        checked.append("the weights match their checksum")
    if (path / "onnx").is_dir():
        record = ExportRecord.read(path)
        for name in record.files:
            if not facts.runtime_only or (path / name).is_file():
                record.check(path, name)
        held += [f"{name} ONNX" for name in record.precisions if (path / FILES[name]).is_file()]
        QueryEncoder.open(path)
        checked.append("the exported files match theirs")
        checked.append("the ONNX file gives the golden vectors on this machine")
    health = f"whole: {', '.join(checked)}"
    shown = {"kind": "student", "space": describe(facts.space), "weights": ", ".join(held)}
    return {**shown, **_training(facts.training), "health": health}


def _training(training: Facts) -> Facts:
    """How a student came to be, in a few lines; nothing for one that was not distilled here."""
    if not training:
        return {}
    start, best = training["start"], training["best"]
    return {
        "student": training["student"],
        **({"layers": training["head"]["layers"]} if "layers" in training["head"] else {}),
        "texts": training["data"]["training"],
        "steps": training["steps"],
        "held-out cosine": f"{start['cosine_mean']:.4f} at the start, {best['cosine_mean']:.4f} at step {best['step']}",
        "held-out overlap@10": f"{start['overlap_at_10']:.3f} at the start, {best['overlap_at_10']:.3f}",
        "command": training["command"],
    }


def _manifest(path: Path) -> Facts:
    try:
        form = json.loads((path / "manifest.json").read_bytes()).get("format")
    except (ValueError, AttributeError) as error:
        raise DamageError(f"{path / 'manifest.json'} is not a manifest: {error}") from error
    if form == "leafkit-index":
        return _index(path)
    if form == "leafkit-vectors":
        return _store(path)
    raise InputError(f"{path / 'manifest.json'} was not written by this leafkit: its format is {form!r}")


def _index(path: Path) -> Facts:
    from leafkit.search.package import open_package

    manifest = open_package(path, verify=True).manifest
    shown = ("count", "dim", "precision", "factory", "rescore", "metric")
    return {
        "kind": "index",
        "space": describe(manifest.space),
        **{name: getattr(manifest, name) for name in shown},
        "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        "health": "whole: every file matches its checksum",
    }


def _store(path: Path) -> Facts:
    from leafkit.vectors.store import VectorStore

    manifest = json.loads((path / "manifest.json").read_bytes())
    space = Space.from_json(manifest["space"], where=str(path / "manifest.json"))
    store = VectorStore.open(path.parent, space, dtype=manifest["dtype"])
    store.verify()
    return {
        "kind": "teacher vectors",
        "space": describe(space),
        "texts": len(store),
        "precision": manifest["dtype"],
        "health": "whole: every block matches its checksum",
    }


def _teacher(path: Path) -> Facts:
    from leafkit.teachers.open import open_teacher

    teacher = open_teacher(path)
    return {"kind": "teacher", "space": describe(teacher.space), "signals": ", ".join(sorted(teacher.signals))}


def _vectors_file(path: Path) -> Facts:
    from leafkit.teachers.open import open_teacher

    teacher = open_teacher(path)
    return {"kind": "vectors file", "space": describe(teacher.space), "vectors": len(teacher), "health": "readable"}


def _folder(path: Path) -> Facts:
    stores = sorted(found.parent for found in path.glob("*/manifest.json"))
    if stores:
        return {"kind": "folder of leafkit's", **{found.name: info(found) for found in stores}}
    if any(path.glob("corpus.jsonl*")):
        from leafkit.texts.beir import read_corpus, read_queries

        return {
            "kind": "collection in BEIR layout",
            "documents": sum(1 for _ in read_corpus(path)),
            "queries": len(read_queries(path)),
            "judgements": ", ".join(sorted(found.stem for found in path.glob("qrels/*.tsv*"))),
        }
    from leafkit.vectors.vectors_file import is_vectors_file

    if is_vectors_file(path):
        return _vectors_file(path)
    raise InputError(
        f"{path} is nothing that leafkit knows: no student, index, vector cache, teacher, vectors file or BEIR folder"
    )
