"""What is fuzzed: a kind of folder, how an attacker repairs its hashes, and what a user then does with it."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy

from tests.hostile.fuzz.mutations import BYTES, TEXT, Mutation, damage

TEXT_SUFFIXES = {".json", ".jsonl", ".toml", ".txt", ".csv"}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A folder that may come from a stranger.

    build: writes the undamaged folder into an empty one.
    use: opens the folder as a user would and returns what came out, as a text (see `digest`). A `LeafkitError` refuses.
    files: patterns of the files to damage, relative to the folder.
    reseal: makes every hash fit the damaged files, as an attacker would; None leaves the hashes alone.
    strict: hashes must catch every change, so another answer is a failure and not the attacker's right.
    mutations: besides those that suit the file's suffix.
    cases: how many belong to the short run of `make test`.
    """

    name: str
    build: Callable[[Path], object]
    use: Callable[[Path], str]
    files: tuple[str, ...]
    reseal: Callable[[Path], object] | None = None
    strict: bool = False
    mutations: tuple[Mutation, ...] = field(default=())
    cases: int = 40

    def damage(self, folder: Path, seed: int, case: int) -> str:
        """Damage one file in ``folder`` as the pair of seed and case says; returns its name."""
        random = numpy.random.default_rng([seed, int.from_bytes(hashlib.md5(self.name.encode()).digest()[:4]), case])
        files = sorted({path for pattern in self.files for path in folder.glob(pattern) if path.is_file()})
        file = files[random.integers(len(files))]
        general = TEXT if file.suffix in TEXT_SUFFIXES else BYTES
        # Mutations of the target's own know its fields, so they get half of the cases.
        chosen = self.mutations if self.mutations and random.integers(2) else general
        file.write_bytes(damage(file.read_bytes(), chosen, random))
        if self.reseal is not None:
            self.reseal(folder)
        return str(file.relative_to(folder))


def digest(*values: object) -> str:
    """Return a short text that is equal for equal arrays, bytes and other values."""
    total = hashlib.sha256()
    for value in values:
        total.update(value.tobytes() if isinstance(value, numpy.ndarray) else repr(value).encode())
    return total.hexdigest()[:16]


def all_targets() -> dict[str, Target]:
    """Collect ``TARGETS`` from every module of the folder ``targets``, so that a new file needs no registration."""
    folder = Path(__file__).parent / "targets"
    modules = sorted(module.name for module in pkgutil.iter_modules([str(folder)]))
    found = [importlib.import_module(f"tests.hostile.fuzz.targets.{name}").TARGETS for name in modules]
    return {target.name: target for targets in found for target in targets}
