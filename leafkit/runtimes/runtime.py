"""What a runtime is to `leafkit check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from leafkit.runtimes.golden import GoldenVectors
from leafkit.types import Float32


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a runtime returned for the golden texts.

    vectors: an array (len(rows), dim) for the golden texts with the numbers ``rows``.
    version: the runtime's version, empty if the runtime does not tell.
    note: what a user should know, or empty.
    """

    vectors: Float32
    rows: Sequence[int]
    version: str
    note: str = ""


class Runtime(Protocol):
    """One way to run a student."""

    @property
    def name(self) -> str:
        """The runtime's name or address."""
        ...

    @property
    def file(self) -> str:
        """The file that the runtime reads; empty if only the runtime knows."""
        ...

    @property
    def precision(self) -> str | None:
        """The precision of that file: float32, int8, or None if only the runtime knows."""
        ...

    @property
    def prompt(self) -> str:
        """How the prompts are applied, in words."""
        ...

    def encode(self, golden: GoldenVectors) -> Answer:
        """Return the vectors of the golden texts, as a user of this runtime gets them.

        Raises `NotInstalledError` for a runtime that is not here, and any other error for one that fails.
        """
        ...
