"""JSON lines: an object a line; blank lines are nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leafkit.texts.columns import Columns, Row, RowError
from leafkit.texts.lines import line_rows

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def jsonl_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """A row for every line that is not blank."""
    return line_rows(path, _object)


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
        if _SURROGATE_ESCAPE.search(line):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise RowError("not Unicode", r"got half a surrogate pair (\ud800 to \udfff), wanted both or none") from None
    except json.JSONDecodeError as error:
        message = f"got {line!r:.40} ({error.msg} at character {error.pos + 1}), wanted one JSON object a line"
        raise RowError("not JSON", message) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets of thousands of levels
        raise RowError("not JSON", f"got {line!r:.40} ({error}), wanted one JSON object a line") from None
    if not isinstance(value, dict):
        raise RowError("not an object", f"got a JSON {type(value).__name__}, wanted one JSON object a line")
    return value
