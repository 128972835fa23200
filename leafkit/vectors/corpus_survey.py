"""What the shards of a corpus have to agree on before the first text is encoded: its texts, their number, its columns.

Every process that makes a shard reads all texts once to find out. Ten million texts take some two minutes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from leafkit.texts.record import Text
from leafkit.vectors.kept_columns import KeptColumns


@dataclass(frozen=True)
class CorpusSurvey:
    """The hash of all texts with their columns, whatever files they are in; their number; and their columns."""

    digest: str
    rows: int
    columns: KeptColumns

    @classmethod
    def of(cls, texts: Iterable[Text]) -> CorpusSurvey:
        """Read all ``texts`` once, a few thousand at a time."""
        hashed, rows = hashlib.sha256(), 0

        def read() -> Iterator[Text]:
            nonlocal rows
            for text in texts:
                rows += 1
                row = (text.id, text.title, text.text, text.role, text.payload)
                hashed.update(json.dumps(row).encode() + b"\n")
                yield text

        columns = KeptColumns.of(read())
        return cls(hashed.hexdigest(), rows, columns)
