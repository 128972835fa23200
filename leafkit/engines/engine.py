"""The protocol of an engine: a table or collection of documents with their vectors, that can be filled and searched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

from leafkit.engines.contents import Contents
from leafkit.filters.conditions import Condition
from leafkit.types import Float32


@dataclass(frozen=True, slots=True)
class Rows:
    """Some documents, as they are written to an engine and read from it. All parts have the same length.

    ids: different strings, without NUL and half surrogate pairs.
    vectors: (rows, dim), finite and not zero. They have length 1 when they are written.
    payloads: what is shown with a hit, as JSON objects in ASCII. An engine gives them back as they were, apart from
        the order of fields.
    fields: the values that filters compare, by column: only columns of the schema that have a value. A value is an
        int, a finite float, a bool, a str, or a list of str with at least one element; a column of type ``texts``
        may hold a single str, too, and a column of type ``number`` an int. Empty when they are read.
    digests: a hash of all of the above for each row, in hexadecimal digits. Empty when they are read.
    """

    ids: list[str]
    vectors: Float32
    payloads: list[str]
    fields: list[dict[str, Any]]
    digests: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, places: Sequence[int]) -> Rows:
        """Return the rows at ``places``."""
        return Rows(
            [self.ids[place] for place in places],
            self.vectors[list(places)],
            [self.payloads[place] for place in places],
            [self.fields[place] for place in places],
            [self.digests[place] for place in places],
        )


@dataclass(frozen=True, slots=True)
class Found:
    """The hits of one query, best first: ids, cosines with the stored vectors, and payloads as JSON objects."""

    ids: list[str]
    scores: list[float]
    payloads: list[str]

    def __len__(self) -> int:
        return len(self.ids)


class Engine(Protocol):
    """A table or collection. `leafkit.engines.open.open_engine` opens it; its end closes the connection.

    Every method raises `EngineError`, with one sentence of advice and never with a password, if the engine cannot be
    reached, goes away or refuses. Every call has a time limit, ``timeout`` of `open_engine`. Except for the methods
    that write, any number of threads may call them.

    A failure at any time must lose nothing: a row is there whole or not at all, and every method may be called again
    with the same arguments.
    """

    precisions: ClassVar[tuple[str, ...]]
    """The precisions that the engine can store, out of those of `leafkit.search.plan.PRECISIONS`, the default first."""

    def contents(self) -> Contents | None:
        """Read the record; None if the table or collection does not exist.

        Raises `EngineError` for a table or collection that leafkit did not write (see `read_contents`).
        """
        ...

    def create(self, contents: Contents) -> None:
        """Create the table or collection, empty, with its record.

        Raises `EngineError` if it exists, and `OptionError` for a ``dim`` that the engine cannot hold.
        """
        ...

    def record(self, contents: Contents) -> None:
        """Replace the record. Space, dim and precision are those that it had."""
        ...

    def digests(self, ids: Sequence[str]) -> list[str | None]:
        """Return the digest of the row with each of at most 10,000 ``ids``, or None if there is no such row."""
        ...

    def write(self, rows: Rows) -> None:
        """Write at most 10,000 ``rows``, replacing those that have the same ids."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Remove the rows with these ids; unknown ids are ignored."""
        ...

    def finish(self) -> None:
        """Build what makes searches fast, after rows were written. May take long; has no time limit."""
        ...

    def count(self) -> int:
        """Return the number of rows."""
        ...

    def search(self, vectors: Float32, k: int, where: Condition | None = None) -> list[Found]:
        """Return the ``k`` nearest rows of each of the unit ``vectors`` (queries, dim), fewer if fewer are allowed.

        where: finds only rows whose fields fulfil this condition, which comes from `leafkit.filters.exact.reduced`:
            its columns are in the schema, and its values have the types of their columns. It means what
            `leafkit.search.columns` finds: each comparison is true or false, and false without a value; a comparison
            with a list is true if it is for one element; texts are ordered by code point. Names and texts are data
            of strangers, and reach the engine as parameters or inside its own objects, never as parts of a command.
        """
        ...

    def read(self, size: int) -> Iterator[Rows]:
        """Yield all rows, ``size`` at a time, in a stable order."""
        ...

    def ids(self, size: int) -> Iterator[list[str]]:
        """Yield the ids of all rows, ``size`` at a time. Rows may be removed meanwhile."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
