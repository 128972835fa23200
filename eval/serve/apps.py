"""The apps that are measured. ``python -m eval.serve.apps KIND INDEX PORT`` runs one of the rivals.

A rival is the app that is written in ten minutes: it reads JSON, searches in a thread of Starlette's pool and returns
JSON. It has no queue, no limits and no counters. All rivals search the same index with `Searcher` and differ in what
encodes the query.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from leafkit.errors import InputError
from leafkit.shipped import resolve_student

OURS = "leafkit serve"
# What encodes the query in each rival, and the package that it needs.
RIVALS = {"naive": "onnxruntime", "fastembed": "fastembed", "sentence-transformers": "sentence_transformers"}
START_SECONDS = 120.0


@contextmanager
def serving(
    kind: str, index: Path, *, model: Path | None = None, options: tuple[str, ...] = ()
) -> Iterator[tuple[int, int]]:
    """Run an app with ``index`` in a process of its own inside the block; gives its port and process id.

    kind: `OURS` or one of `RIVALS`.
    model: the complete student folder that rivals other than naive open.
    options: further options of ``leafkit serve``.

    Raises `InputError` if the app does not start.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    if kind == OURS:
        command = ["-m", "leafkit.cli", "-q", "serve", str(index), "--port", str(port), *options]
    else:
        command = ["-m", "eval.serve.apps", kind, str(index), str(port), *([str(model)] if model else [])]
    process = subprocess.Popen([sys.executable, *command], env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        _wait_until_ready(process, port, kind)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(60)


def missing(kind: str, model: Path | None) -> str | None:
    """Return why a rival cannot run here, or None if it can."""
    package = RIVALS[kind]
    if find_spec(package) is None:
        return f"{package} is not installed"
    if kind != "naive" and model is None:
        return "needs --model, a folder of `leafkit export STUDENT --out FOLDER`"
    return None


def resident_megabytes(process: int) -> float:
    """Return the resident memory of a process in MB (Linux only), mapped files included."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) * 1024 / 1e6


def rival(kind: str, index: str, model: str | None) -> Any:
    """Return the naive app around `Searcher.search`, with another encoder for ``kind``."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from leafkit.search.searcher import Searcher

    searcher = Searcher.open(index)
    encode = _ENCODERS[kind](model or "", searcher)

    def find(query: str, k: int) -> list[dict[str, Any]]:
        hits: Any = searcher.search(encode(query), k)
        rows = zip(hits.ids, hits.scores.tolist(), hits.payload, strict=True)
        return [{"id": name, "score": score, "payload": payload} for name, score, payload in rows]

    async def search(request: Request) -> JSONResponse:
        content = await request.json()
        return JSONResponse({"hits": await run_in_threadpool(find, content["query"], content["k"])})

    async def health(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    return Starlette(routes=[Route("/search", search, methods=["POST"]), Route("/health", health)])


def _ours(model: str, searcher: Any) -> Callable[[str], Any]:
    return lambda text: text


def _fastembed(model: str, searcher: Any) -> Callable[[str], Any]:
    # fastembed has no type information, and is no dependency of leafkit.
    from fastembed import TextEmbedding  # type: ignore[import-not-found]
    from fastembed.common.model_description import ModelSource, PoolingType  # type: ignore[import-not-found]

    from leafkit.search.query_encoder import FILES

    name = f"leafkit/{uuid.uuid4().hex}"
    TextEmbedding.add_custom_model(
        model=name,
        pooling=PoolingType.DISABLED,
        normalization=False,
        sources=ModelSource(hf=name),
        dim=searcher.space.dim,
        model_file=FILES["int8"],
    )
    opened = TextEmbedding(name, specific_model_path=str(resolve_student(model)), threads=1)
    prompt = searcher.space.query_prompt
    return lambda text: next(iter(opened.embed([prompt + text])))


def _sentence_transformers(model: str, searcher: Any) -> Callable[[str], Any]:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    opened = SentenceTransformer(model, device="cpu", local_files_only=True)
    return lambda text: opened.encode_query(text, show_progress_bar=False)


_ENCODERS: dict[str, Callable[[str, Any], Callable[[str], Any]]] = {
    "naive": _ours,
    "fastembed": _fastembed,
    "sentence-transformers": _sentence_transformers,
}


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, kind: str) -> None:
    ending = time.monotonic() + START_SECONDS
    while time.monotonic() < ending and process.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=10):
                return
        except OSError:
            time.sleep(0.1)
    raise InputError(f"the app {kind} did not start. Its message is above.")


def main() -> None:
    """Run a rival until it is stopped."""
    import uvicorn

    kind, index, port, *model = sys.argv[1:]
    uvicorn.run(rival(kind, index, *(model or [None])), port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
