"""The texts of a table: the first so many of each role, written to a file that `leafkit distill` reads as well."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.experiments.table import Choice
from leafkit.errors import OptionError, TextError
from leafkit.files.atomic import write_file
from leafkit.files.digest import sha256_file
from leafkit.texts.read import read_texts


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Files of texts to train on and to validate with, and the SHA-256 and counts of each."""

    train: Path
    valid: Path
    facts: dict[str, Any]

    @property
    def identity(self) -> list[str]:
        """What changes when a text does."""
        return [self.facts[name]["sha256"] for name in ("train", "valid")]


def choose(choice: Choice, work: Path) -> Chosen:
    """Write the texts of ``choice`` into ``work``, named by their content; raises `TextError` where there are too few.

    Texts without a role are documents. A text counts once in each role.
    """
    if not choice.files or not choice.valid:
        raise OptionError("the table names no texts, or none to validate with: give files and valid in [texts]")
    half = None if choice.held_out is None else choice.held_out // 2
    train, of_train = _write(choice.files, work, "texts", choice.queries, choice.documents, choice.longest)
    valid, of_valid = _write(choice.valid, work, "valid", half, half, choice.longest)
    return Chosen(train=train, valid=valid, facts={"train": of_train, "valid": of_valid, "longest": choice.longest})


def _write(
    files: Sequence[str], work: Path, name: str, queries: int | None, documents: int | None, longest: int | None
) -> tuple[Path, dict[str, Any]]:
    wanted = {"query": queries, "document": documents}
    rows = list(_first(files, wanted, longest))
    found = Counter(row["role"] for row in rows)
    for role, count in wanted.items():
        if count is not None and found[role] < count:
            raise TextError(f"{', '.join(files)}: got {found[role]} texts of the role {role}, wanted {count}")
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = work / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.jsonl"
    if not path.is_file():
        write_file(path, content)
    return path, {"files": list(files), "sha256": sha256_file(path), **found}


def _first(files: Sequence[str], wanted: dict[str, int | None], longest: int | None) -> Iterator[dict[str, str]]:
    seen: set[tuple[str, str]] = set()
    found: Counter[str] = Counter()
    for text in read_texts(list(files), role="document"):
        role = text.role or "document"
        if all(count is not None and found[name] >= count for name, count in wanted.items()):
            return
        limit = wanted[role]
        full = limit is not None and found[role] >= limit
        if full or (longest is not None and len(text.full_text) > longest) or (role, text.full_text) in seen:
            continue
        seen.add((role, text.full_text))
        found[role] += 1
        yield {"text": text.full_text, "role": role, "source": str(text.payload.get("source", ""))}
