"""transformers.js in Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from leafkit.errors import InputError
from leafkit.runtimes.golden import GoldenVectors, NotInstalledError
from leafkit.runtimes.runtime import Answer
from leafkit.search.query_encoder import FILES
from leafkit.teachers.api.answers import excerpt, read_answer, tei_vectors

SCRIPT = Path(__file__).with_name("encode.mjs")
PACKAGE = "@huggingface/transformers"
DTYPES = {"int8": "q8", "float32": "fp32"}


@dataclass(frozen=True, kw_only=True)
class TransformersJs:
    """The package @huggingface/transformers in the folder ``node_modules``, run by the ``node`` on the path."""

    precision: str
    prompt: str
    node_modules: Path | None
    timeout: float
    name = "transformers.js"

    @property
    def file(self) -> str:
        """The graph of this precision."""
        return FILES[self.precision]

    def encode(self, golden: GoldenVectors) -> Answer:
        """Run a script in Node.js that encodes each text alone and reads the output ``sentence_embedding``.

        Truncated texts are left out: transformers.js cuts their last special token off as well.
        """
        node = shutil.which("node")
        if node is None:
            raise NotInstalledError("node is not installed")
        # Code is run only from a folder that the user names, never from the current one.
        if self.node_modules is None:
            raise NotInstalledError("--node-modules names no folder")
        if not (self.node_modules / PACKAGE).is_dir():
            raise NotInstalledError(f"{self.node_modules} does not contain {PACKAGE}")
        golden.require(self.precision)
        rows, prompted = golden.whole(), golden.prompted()
        asked = {
            "modules": str(self.node_modules.resolve()),
            "folder": str(golden.folder.resolve()),
            "dtype": DTYPES[self.precision],
            "texts": [prompted[row] for row in rows],
        }
        answer = read_answer(self._run(node, json.dumps(asked).encode()), source=self.name)
        if not isinstance(answer, dict):
            raise InputError(f"{self.name} answers with {type(answer).__name__}; expected an object.")
        vectors = tei_vectors(answer.get("vectors"), rows=len(rows), dim=golden.space.dim, source=self.name)
        note = "" if len(rows) == len(prompted) else "truncates without the last special token: long texts left out"
        return Answer(vectors=vectors, rows=rows, version=str(answer.get("version", "")), note=note)

    def _run(self, node: str, asked: bytes) -> bytes:
        try:
            done = subprocess.run(
                [node, str(SCRIPT)], input=asked, capture_output=True, timeout=self.timeout, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(f"node did not end within {self.timeout:g} seconds.") from error
        if done.returncode:
            raise InputError(f"node ends with code {done.returncode}: {excerpt(done.stderr[-200:])}")
        return done.stdout
