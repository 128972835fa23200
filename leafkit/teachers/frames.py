"""Embed the rows of data frames where they lie: the function for Spark's ``mapInPandas`` and its relatives.

Spark sends the function to its executors, which open the encoder once each::

    from leafkit.teachers.frames import embed_frames

    schema = "id string, text string, vector array<float>"
    documents.mapInPandas(embed_frames("BAAI/bge-small-en-v1.5"), schema).write.parquet("vectors")

The Parquet files record no space. `leafkit index` checks such vectors with the student, as those of any other tool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from leafkit.errors import TextError
from leafkit.options import takes
from leafkit.teachers.open import open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.record import join_title
from leafkit.types import Encoder, Role, check_role
from leafkit.vectors.check import check_vectors

if TYPE_CHECKING:
    import pandas


@takes(TeacherOptions)
def embed_frames(
    encoder: str, *, role: str = "document", text: str = "text", vector: str = "vector", **options: Any
) -> Callable[[Iterator[pandas.DataFrame]], Iterator[pandas.DataFrame]]:
    """Return a function that adds a column of vectors to each of the pandas frames that it is given.

    encoder: what `leafkit.open_teacher` takes, as text: a name, or a path that all machines have.
    role: the role of all rows.
    text: the column of the texts. A column ``title`` is put before the text, as everywhere in leafkit.
    vector: the name of the new column, which holds float32 numbers.

    The returned function raises `TextError` for a row that is no text, and what `leafkit.open_teacher` raises.
    """
    known = check_role(role)
    # Made here, so that an invalid option is an error on the driver and not on an executor.
    opening = TeacherOptions(**options)

    def embed(frames: Iterator[pandas.DataFrame]) -> Iterator[pandas.DataFrame]:
        for frame in frames:
            yield _with_vectors(frame, _opened(encoder, opening), known, text, vector)

    return embed


@cache
def _opened(encoder: str, opening: TeacherOptions) -> Encoder:
    """Open an encoder once for each process."""
    return open_with(encoder, opening)


def _with_vectors(frame: pandas.DataFrame, encoder: Encoder, role: Role, text: str, vector: str) -> pandas.DataFrame:
    if text not in frame.columns:
        raise TextError(f"there is no column {text!r} among {sorted(frame.columns)}. Name the column of the texts.")
    titles = frame["title"] if "title" in frame.columns and text != "title" else [None] * len(frame)
    texts = []
    for row, (title, own) in enumerate(zip(titles, frame[text], strict=True)):
        if not isinstance(own, str):
            raise TextError(f"the column {text!r} holds {own!r} in row {row + 1} of a batch; expected a text.")
        texts.append(join_title(title if isinstance(title, str) else "", own))
    vectors = encoder.encode(texts, role) if texts else []
    if texts:
        vectors = check_vectors(vectors, rows=len(texts), dim=encoder.space.dim, source="the encoder")
    return frame.assign(**{vector: list(vectors)})
