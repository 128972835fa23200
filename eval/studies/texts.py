"""The texts of a study: the first texts of each role, written to a file that `leafkit distill` can read as well."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.studies.table import TextSelection
from leafkit.errors import OptionError, TextError
from leafkit.files.atomic import write_file
from leafkit.files.digest import sha256_file
from leafkit.texts.read import read_texts


@dataclass(frozen=True, kw_only=True)
class StudyTexts:
    """The files of texts to train on and to validate with; ``facts`` has the SHA-256 and counts of each."""

    train: Path
    valid: Path
    facts: dict[str, Any]

    @property
    def identity(self) -> list[str]:
        """The hashes of both files, which change when a text changes."""
        return [self.facts[name]["sha256"] for name in ("train", "valid")]

    @property
    def count(self) -> int:
        """The number of training texts."""
        facts = self.facts["train"]
        return facts.get("query", 0) + facts.get("document", 0)


def select_texts(selection: TextSelection, work: Path) -> StudyTexts:
    """Write the selected texts into ``work``, in files named by their content.

    A text without a role is a document. Duplicates within a role are skipped. Raises `TextError` if there are too few
    texts.
    """
    if not selection.files or not selection.valid:
        raise OptionError("the table names no texts or no validation texts. Give files and valid in [texts].")
    half = None if selection.held_out is None else selection.held_out // 2
    counts = {"query": selection.queries, "document": selection.documents}
    train, train_facts = _write(selection.files, work, "texts", counts, selection.longest)
    valid, valid_facts = _write(selection.valid, work, "valid", dict.fromkeys(counts, half), selection.longest)
    facts = {"train": train_facts, "valid": valid_facts, "longest": selection.longest}
    return StudyTexts(train=train, valid=valid, facts=facts)


def _write(
    files: Sequence[str], work: Path, name: str, counts: dict[str, int | None], longest: int | None
) -> tuple[Path, dict[str, Any]]:
    rows = list(_first_texts(files, counts, longest))
    found = Counter(row["role"] for row in rows)
    for role, count in counts.items():
        if count is not None and found[role] < count:
            raise TextError(
                f"{', '.join(files)}: got {found[role]} texts with the role {role}; expected at least {count}."
            )
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = work / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.jsonl"
    if not path.is_file():
        write_file(path, content)
    return path, {"files": list(files), "sha256": sha256_file(path), **found}


def _first_texts(files: Sequence[str], counts: dict[str, int | None], longest: int | None) -> Iterator[dict[str, str]]:
    seen: set[tuple[str, str]] = set()
    found: Counter[str] = Counter()
    for text in read_texts(list(files), role="document"):
        role = text.role or "document"
        if all(count is not None and found[name] >= count for name, count in counts.items()):
            return
        limit = counts[role]
        full = limit is not None and found[role] >= limit
        if full or (longest is not None and len(text.full_text) > longest) or (role, text.full_text) in seen:
            continue
        seen.add((role, text.full_text))
        found[role] += 1
        yield {"text": text.full_text, "role": role, "source": str(text.payload.get("source", ""))}
