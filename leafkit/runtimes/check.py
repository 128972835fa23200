"""`leafkit.check_student`: open a student in every installed runtime, and compare its vectors with the golden ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leafkit.errors import LeafkitError
from leafkit.options import options_of, takes
from leafkit.runtimes.golden import GoldenVectors, NotInstalledError
from leafkit.runtimes.installed import installed
from leafkit.runtimes.node import TransformersJs
from leafkit.runtimes.options import CheckOptions
from leafkit.runtimes.runtime import Runtime
from leafkit.runtimes.server import Server
from leafkit.teachers.api.http import Address, Client
from leafkit.vectors.check import check_vectors

KEY = "LEAFKIT_API_KEY"


@dataclass(frozen=True, kw_only=True)
class RuntimeCheck:
    """What a runtime makes of the golden texts.

    runtime, version: its name or address, and its version if it tells.
    file: the file that it reads, empty if only the runtime knows.
    prompt: how the prompts were applied.
    result: ``agrees``, ``disagrees``, ``failed`` (with the error in ``note``) or ``skipped`` (with the reason).
    least_cosine: the least cosine to the golden vectors of ``precision``; None if there are no vectors.
    bound: the least cosine that counts as agreement.
    """

    runtime: str
    file: str
    prompt: str
    result: str
    version: str = ""
    precision: str | None = None
    least_cosine: float | None = None
    bound: float | None = None
    note: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether the runtime gives other vectors or none, although it is here."""
        return self.result in ("disagrees", "failed")

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)


@takes(CheckOptions)
def check_student(student: str | os.PathLike[str], **options: Any) -> list[RuntimeCheck]:
    """Encode the golden texts of an exported student in every runtime, and return a row for each.

    student: the student's folder, or the name of one that ships.

    The runtimes are sentence-transformers, onnxruntime (as `leafkit.QueryEncoder`), fastembed, transformers.js in
    Node.js, and the servers of ``urls``. A runtime that is not installed gives a row ``skipped``, and an error in a
    runtime gives a row ``failed``. Prompts are applied as a user of the runtime would: by its own means where it has
    some, and otherwise put before each text.

    Raises `InputError` for a folder that is not an exported student, and `DamageError` for a damaged export record.
    """
    chosen = options_of(CheckOptions, options)
    golden = GoldenVectors.read(Path(student))
    return [_check(runtime, golden) for runtime in _runtimes(golden, chosen)]


def _runtimes(golden: GoldenVectors, options: CheckOptions) -> Iterator[Runtime]:
    client = Client(timeout=options.timeout, key=os.environ.get(KEY, ""))
    servers = [Server(address=Address.parse(url), client=client) for url in options.urls]
    yield from installed(golden)
    folder = None if options.node_modules is None else Path(options.node_modules)
    for precision in golden.vectors:
        prompt = golden.prompts_by_hand
        yield TransformersJs(precision=precision, prompt=prompt, node_modules=folder, timeout=options.timeout)
    yield from servers


def _check(runtime: Runtime, golden: GoldenVectors) -> RuntimeCheck:
    facts: dict[str, Any] = {"runtime": runtime.name, "file": runtime.file, "prompt": runtime.prompt}
    try:
        answer = runtime.encode(golden)
        vectors = check_vectors(
            answer.vectors, rows=len(answer.rows), dim=golden.space.dim, source=f"the vectors of {runtime.name}"
        )
        found = golden.compare(vectors, runtime.precision, answer.rows)
    except NotInstalledError as error:
        return RuntimeCheck(**facts, result="skipped", note=str(error))
    except Exception as error:  # runtimes raise errors of many types; each is that runtime's answer
        note = str(error) if isinstance(error, LeafkitError) else f"{type(error).__name__}: {error}"
        return RuntimeCheck(**facts, result="failed", note=note)
    return RuntimeCheck(
        **facts,
        result="agrees" if found.agrees else "disagrees",
        version=answer.version,
        precision=found.precision,
        least_cosine=found.least_cosine,
        bound=found.bound,
        note=answer.note,
    )
