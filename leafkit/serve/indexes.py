"""The indexes that are served: open by name, and opened again when their folders change."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy

from leafkit.errors import InputError, LeafkitError, OptionError, nearest
from leafkit.search.hits import Hits
from leafkit.search.manifest import read_manifest_text
from leafkit.search.query_encoder import AGREEMENT
from leafkit.search.searcher import Searcher
from leafkit.serve.replies import RequestError
from leafkit.space import describe
from leafkit.types import Encoder, Float32
from leafkit.vectors.mapping import MappedEncoder

# After how many seconds a damaged folder is opened again.
RETRY = 10.0
GOLDEN = "how do I move a folder to another machine"
_NAMED = re.compile(r"([\w.-]+)=(.+)")

OpenTeacher = Callable[[Path], Encoder]
"""Opens the teacher of the index in a folder."""

log = logging.getLogger("leafkit")


@dataclass(frozen=True, slots=True)
class Opened:
    """An index as it was when it was opened. Requests that began with it end with it, whatever happens to the folder.

    folder: where it lies on this machine, which no answer to a search names.
    number: counts how often the index was opened.
    encoder: the student that encodes queries into the teacher's space, or None.
    golden: the vector of `GOLDEN`; None without an encoder.
    """

    name: str
    folder: Path
    number: int
    searcher: Searcher
    encoder: Encoder | None
    golden: Float32 | None

    def search(self, query: str | Float32, **options: Any) -> Hits:
        """Return the hits as `Searcher.search` does; an `InputError` names the index and not its folder."""
        try:
            hits: Any = self.searcher.search(query, **options)
        except InputError as error:
            folder = rf"\bthe index {re.escape(str(self.folder))}(?=[\s,.:;]|$)"
            raise InputError(re.sub(folder, lambda _: f"the index {self.name}", str(error))) from error
        return hits

    def embedding_encoder(self) -> Encoder:
        """Return the encoder whose vectors others can use; raises `RequestError` 422 where there is none."""
        if self.encoder is None:
            raise RequestError(422, f"the index {self.name} was built without a student, so it has no encoder.")
        if self.encoder.space.rotation != self.searcher.space.rotation:
            raise RequestError(
                422,
                f"the index {self.name} is folded or rotated, so its student writes vectors that fit this index alone. "
                "Send texts to /search.",
            )
        return self.encoder

    def widths(self) -> list[int]:
        """The widths that an embedding may have: all components, and those that the index keeps."""
        encoder = self.embedding_encoder()
        whole = self.searcher.manifest.space.id == encoder.space.id
        return sorted({encoder.space.dim, *([self.searcher.manifest.dim] if whole else [])}, reverse=True)

    def is_healthy(self) -> bool:
        """Encode the golden text again, or search without an encoder, and tell whether the answer is what it was."""
        if self.encoder is None or self.golden is None:
            unit = numpy.zeros(self.searcher.space.dim, dtype=numpy.float32)
            unit[0] = 1
            return len(self.searcher.search(unit, 1)) == min(1, len(self.searcher))
        vector = self.encoder.encode([GOLDEN], "query")[0]
        lengths = float(numpy.linalg.norm(vector) * numpy.linalg.norm(self.golden))
        return float(vector @ self.golden) >= AGREEMENT * lengths


class ServedIndex:
    """One index folder: what is open of it, and why a newer content of the folder was not opened, if so."""

    def __init__(
        self, name: str, folder: Path, *, encoder: str | Path | None, verify: bool, teacher: OpenTeacher | None = None
    ) -> None:
        """Open the index at ``folder``; raises the errors of `Searcher.open`."""
        self.name = name
        self.folder = folder
        self.problem: str | None = None
        self.reloads = 0
        self._refused: str | None = None
        self._next_try = 0.0
        self._manifest = read_manifest_text(folder)
        open_teacher = None if teacher is None else partial(teacher, folder)
        searcher = Searcher.open(folder, encoder=encoder, teacher=open_teacher, verify=verify)
        self._was_given_encoder = encoder is not None
        self.opened = self._opened(searcher, number=1)

    def look(self) -> None:
        """Open the index again if its manifest changed. Takes long; call it in a thread, one call at a time.

        If the folder is gone or damaged or now holds vectors of another space, the open index stays and `problem` says
        why.
        """
        manifest = None
        try:
            manifest = read_manifest_text(self.folder)
            if manifest == self._manifest:
                self.problem, self._refused = None, None
                return
            if manifest == self._refused and time.monotonic() < self._next_try:
                return
            opened = self._opened(self.opened.searcher.reload(), number=self.opened.number + 1)
            self._require_same(opened)
        except (LeafkitError, OSError) as error:
            self._keep(f"the folder {self.folder} was not opened again, and the index as it was is served on: {error}")
            # A folder that is being copied is complete later; one of another space stays one.
            self._refused = manifest
            self._next_try = time.monotonic() + (math.inf if isinstance(error, InputError) else RETRY)
            return
        # If the folder changed once more meanwhile, its manifest differs from this one at the next look.
        self._manifest, self.opened, self.problem, self._refused = manifest, opened, None, None
        self.reloads += 1
        log.info("reopened the index %s: %d documents", self.name, len(opened.searcher))

    def _opened(self, searcher: Searcher, *, number: int) -> Opened:
        # Without a student there is nothing to encode with; the searcher says so when it is asked.
        has_encoder = self._was_given_encoder or searcher.manifest.encoder is not None
        encoder = searcher.encoder if has_encoder else None
        encoder = encoder.encoder if isinstance(encoder, MappedEncoder) else encoder
        golden = encoder.encode([GOLDEN], "query")[0] if encoder else None
        return Opened(self.name, self.folder, number, searcher, encoder, golden)

    def _require_same(self, opened: Opened) -> None:
        """Raise `OptionError` if requests that the open index answers would mean something else with ``opened``."""
        before, after = self.opened, opened
        if after.searcher.space.id != before.searcher.space.id:
            raise OptionError(
                f"it now holds vectors of another space, {describe(after.searcher.space)}; expected "
                f"{describe(before.searcher.space)}. Restart the server to serve it."
            )
        if before.encoder is not None and after.encoder is None:
            raise OptionError("it now has no student inside. Build it with --student, or restart the server.")

    def _keep(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("index %s: %s", self.name, problem)
        self.problem = problem


class Indexes:
    """The served indexes by name."""

    def __init__(
        self,
        folders: Mapping[str, Path],
        *,
        encoder: str | Path | None = None,
        verify: bool = True,
        teacher: OpenTeacher | None = None,
    ) -> None:
        """Open all of ``folders``; raises the errors of `Searcher.open`."""
        self._served = {
            name: ServedIndex(name, folder, encoder=encoder, verify=verify, teacher=teacher)
            for name, folder in folders.items()
        }

    def all(self) -> list[ServedIndex]:
        """The served indexes, in the order given."""
        return list(self._served.values())

    def open_now(self, name: str | None) -> Opened:
        """Return the index ``name`` as it is now; the only one if None.

        Raises `RequestError` 404 for an unknown name and 422 if there are several and none is named.
        """
        if name is None:
            if len(self._served) > 1:
                raise RequestError(422, f"several indexes are served; name one of {', '.join(self._served)}.")
            name = next(iter(self._served))
        if name not in self._served:
            hint = nearest(name[:80], self._served)
            raise RequestError(404, f"no index {name[:80]!r} is served; {hint}.".replace("?.", "?"))
        return self._served[name].opened

    async def watch(self, seconds: float) -> None:
        """Look at every folder once in ``seconds``, for ever."""
        while True:
            await asyncio.sleep(seconds)
            for served in self.all():
                try:
                    await asyncio.to_thread(served.look)
                except Exception:  # whatever it is, the next look may succeed
                    log.exception("looking at the index %s failed", served.name)


def name_indexes(indexes: str | Path | Sequence[str | Path] | Mapping[str, str | Path]) -> dict[str, Path]:
    """Return the folder of each index by its name.

    An index is a folder, called after its name without ``.index``, or ``NAME=FOLDER``.

    Raises `OptionError` for no index and for two of one name.
    """
    if isinstance(indexes, Mapping):
        pairs = [(name, Path(folder)) for name, folder in indexes.items()]
    else:
        pairs = [_pair(one) for one in ([indexes] if isinstance(indexes, str | Path) else indexes)]
    if not pairs:
        raise OptionError("no index is given. Name at least one index folder.")
    folders: dict[str, Path] = {}
    for name, folder in pairs:
        if name in folders:
            raise OptionError(f"two indexes are called {name}: {folders[name]} and {folder}. Write NAME=FOLDER.")
        folders[name] = folder
    return folders


def _pair(one: str | Path) -> tuple[str, Path]:
    named = _NAMED.fullmatch(one) if isinstance(one, str) and not Path(one).exists() else None
    if named:
        return named[1], Path(named[2])
    folder = Path(one)
    return folder.resolve().name.removesuffix(".index"), folder
