"""Make the hashes in JSON files fit changed files, as an attacker would: hashes without a key stop accidents only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from leafkit.search import manifest, query_encoder

_HASH = re.compile(r"[0-9a-f]{64}")


def reseal(folder: Path, name: str) -> None:
    """Rewrite the JSON file ``name`` in ``folder`` with the hashes and sizes of the files that it names."""
    try:
        content = json.loads((folder / name).read_text())
        _update(content, folder)
    except (ValueError, RecursionError):
        return
    if name == manifest.MANIFEST and isinstance(content, dict) and "sha256" in content:
        content.pop("sha256")
        content["sha256"] = manifest._hash(content)
        (folder / name).write_text(manifest._dump(content), errors="surrogatepass")
        return
    if name == query_encoder.RECORD:
        with contextlib.suppress(KeyError, TypeError):
            content["sha256"] = query_encoder.digest(content)
    (folder / name).write_text(json.dumps(content))


def _update(value: Any, folder: Path) -> None:
    if isinstance(value, list):
        for item in value:
            _update(item, folder)
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        _update(item, folder)
        file = folder / key if 0 < len(key) < 200 and "\0" not in key else folder
        if file.is_file():
            content = file.read_bytes()
            if isinstance(item, str) and _HASH.fullmatch(item):
                value[key] = hashlib.sha256(content).hexdigest()
            elif isinstance(item, dict) and "sha256" in item:
                item.update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
