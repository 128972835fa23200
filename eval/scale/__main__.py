"""``python -m eval.scale``: embed a corpus in shards, index it, search and update it, on one thread.

The result has the seconds, the bytes and the peak memory of each stage, recall@10 against exact search, and what ten
million documents would take by these figures (`eval.scale.paper`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.arguments import positive
from eval.bench.machine import describe_machine, load
from eval.bench.side import Side
from eval.scale import paper, searches
from eval.scale.stage import run_stage
from eval.scale.texts import write_queries, write_sentences
from leafkit.command import command_line, exit_on_error
from leafkit.files.atomic import write_json
from leafkit.files.digest import sha256_file
from leafkit.search.plan import plan_index


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run all stages in the folder ``options.work`` and return their figures."""
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    documents, more, queries = work / "documents.jsonl", work / "more.jsonl", work / "queries.txt"
    write_sentences(options.texts, [(documents, options.rows), (more, max(1, options.rows // 100))])
    write_queries(options.queries, queries, options.asked)
    found: dict[str, Any] = {
        "rows": options.rows,
        "texts": {"sha256": sha256_file(documents), "bytes": documents.stat().st_size, "from": options.texts},
        "encoder": options.encoder,
        "factory": options.factory or plan_index(options.rows, options.precision, None).factory,
        "precision": options.precision,
        "load_before": load(),
    }
    found["embed"] = _embed(options, documents)
    found["teacher"] = _teacher_rate(options, documents) if options.teacher else None
    found["index"] = _index(options)
    found["exact"] = _exact(options, queries, [options.work / "shards"])
    found["search"] = _search(options, queries)
    found["update"] = _update(options, more)
    found["exact_after"] = _exact(options, queries, [options.work / "shards", options.work / "more.parquet"])
    found["search_after"] = _search(options, queries)
    found["parts"] = _parts(options, found["factory"])
    return {**found, "load_after": load(), "machine": describe_machine(), "command": command_line()}


def _embed(options: argparse.Namespace, documents: Path) -> dict[str, Any]:
    folder, count = options.work / "shards", options.shards
    shutil.rmtree(folder, ignore_errors=True)
    shards = [
        run_stage(
            [
                "embed",
                str(documents),
                "--encoder",
                options.encoder,
                "--shard",
                f"{number}/{count}",
                "--out",
                str(folder),
            ],
            log=options.work / "log.txt",
        )
        for number in range(1, count + 1)
    ]
    return {
        "shards": count,
        "seconds": round(sum(shard["seconds"] for shard in shards), 2),
        "cpu_seconds": round(sum(shard["cpu_seconds"] for shard in shards), 2),
        "slowest_shard_seconds": max(shard["seconds"] for shard in shards),
        "peak_mib": max(shard["peak_mib"] for shard in shards),
        "bytes": _bytes(folder),
    }


def _teacher_rate(options: argparse.Namespace, documents: Path) -> dict[str, Any]:
    """Return how long a teacher takes for some of the documents, on this core."""
    texts, start = options.work / "sample.jsonl", options.work / "start.jsonl"
    with open(documents, encoding="utf-8") as lines:
        content = [next(lines) for _ in range(options.sample + 1)]
    texts.write_text("".join(content[1:]), encoding="utf-8")
    start.write_text(content[0], encoding="utf-8")
    seconds = []
    for source in (start, texts):  # one text alone takes as long as opening the model
        out = options.work / "sample.parquet"
        arguments = ["embed", str(source), "--encoder", options.teacher, "--out", str(out), "--overwrite"]
        cache = options.work / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        seconds.append(run_stage([*arguments, "--cache", str(cache)], log=options.work / "log.txt")["cpu_seconds"])
    name, cpu_seconds = Path(options.teacher).name, round(seconds[1] - seconds[0], 2)
    return {"model": name, "texts": options.sample, "cpu_seconds": cpu_seconds}


def _index(options: argparse.Namespace) -> dict[str, Any]:
    out = options.work / "docs.index"
    arguments = ["index", str(options.work / "shards"), "--student", options.encoder, "--out", str(out)]
    arguments += ["--precision", options.precision, "--threads", "1", "--overwrite"]
    arguments += ["--factory", options.factory] if options.factory else []
    stage = run_stage(arguments, log=options.work / "log.txt")
    return {**stage, "bytes": _bytes(out), "files": {path.name: path.stat().st_size for path in _files(out)}}


def _exact(options: argparse.Namespace, queries: Path, files: Sequence[Path]) -> dict[str, Any]:
    arguments = {"shards": [str(file) for file in files], "student": options.encoder, "queries": str(queries)}
    with Side(f"{searches.__name__}:exact_scores", {**arguments, "out": str(_truth(options))}, threads=1) as side:
        return side.round()


def _search(options: argparse.Namespace, queries: Path) -> dict[str, Any]:
    index = str(options.work / "docs.index")
    arguments = {"index": index, "queries": str(queries), "exact": str(_truth(options))}
    with Side(f"{searches.__name__}:search", arguments, threads=1) as side:
        return {**side.facts, **side.round()}


def _update(options: argparse.Namespace, more: Path) -> dict[str, Any]:
    """Embed one document more for each hundred, and add them to the index."""
    vectors, log = options.work / "more.parquet", options.work / "log.txt"
    run_stage(
        ["embed", str(more), "--encoder", options.encoder, "--out", str(vectors), "--overwrite"],
        log=log,
    )
    arguments = ["update", str(options.work / "docs.index"), "--add", str(vectors), "--threads", "1"]
    return {"rows": max(1, options.rows // 100), **run_stage(arguments, log=log)}


def _parts(options: argparse.Namespace, factory: str) -> dict[str, Any]:
    arguments = {"shards": [str(options.work / "shards")], "factory": factory, "sample": 32_768, "rows": 16_384}
    arguments["texts"] = str(options.work / "documents.jsonl")
    with Side(f"{searches.__name__}:parts", arguments, threads=1) as side:
        return {"factory": factory, **side.round()}


def _truth(options: argparse.Namespace) -> Path:
    return options.work / "exact.npy"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error of leafkit becomes one message and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m eval.scale", description=__doc__)
    add = parser.add_argument
    add("--texts", nargs="+", required=True, help="sources of documents, which are cut into sentences")
    add("--queries", nargs="+", required=True, help="sources of queries")
    add("--rows", type=positive, default=100_000, help="sentences to index")
    add("--asked", type=positive, default=200, help="queries to ask")
    add("--encoder", default="bge-small-leaf-table", help="the student that embeds documents and queries")
    add("--teacher", help="a teacher whose rate on this core is measured as well")
    add("--sample", type=positive, default=256, help="texts that the teacher encodes for that")
    add("--shards", type=positive, default=16)
    add("--factory", help="the FAISS factory of the index (default: by the number of rows)")
    add("--precision", default="float32")
    add("--work", type=Path, required=True, help="a folder for everything that is made")
    add("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args(arguments)
    with exit_on_error():
        found = measure(options)
        found["paper"] = paper.project(found)
        write_json(options.out, found)
    sys.stdout.write(
        json.dumps({name: found[name] for name in ("embed", "index", "search", "update")}, indent=1) + "\n"
    )
    sys.stdout.write(paper.table(found["paper"]) + "\n")


if __name__ == "__main__":
    main()
