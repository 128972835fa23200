"""Reading JSON lines: one object per line. Blank lines are skipped."""

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
    """Yield every line that is not blank."""
    return line_rows(path, _parse_object)


def _parse_object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
        if _SURROGATE_ESCAPE.search(line):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise RowError(
            "not Unicode", r"the line holds half a surrogate pair (\ud800 to \udfff); expected both halves or none"
        ) from None
    except json.JSONDecodeError as error:
        raise _not_json(line, f"{error.msg} at character {error.pos + 1}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or thousands of nested brackets
        raise _not_json(line, error) from None
    if not isinstance(value, dict):
        raise RowError("not an object", f"the line is a JSON {type(value).__name__}; expected one JSON object per line")
    return value


def _not_json(line: str, problem: object) -> RowError:
    return RowError("not JSON", f"the line is {line!r:.40} ({problem}); expected one JSON object per line")
