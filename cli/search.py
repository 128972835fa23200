"""leafkit search: search an index."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leafkit.cli.options import Json, open_recorded_teacher
from leafkit.cli.printing import field, say, say_json
from leafkit.engines.url import is_engine_url
from leafkit.errors import OptionError

if TYPE_CHECKING:
    from leafkit.search.hits import Hits


def search(
    index: Annotated[
        str, typer.Argument(help="The index folder, or the address of an engine that holds one.", show_default=False)
    ],
    query: Annotated[list[str] | None, typer.Argument(help="One or more queries.", show_default=False)] = None,
    queries: Annotated[str | None, typer.Option(help="File with one query per line; - reads stdin.")] = None,
    k: Annotated[int, typer.Option("-k", help="Hits per query.")] = 10,
    allow: Annotated[
        Path | None, typer.Option(help="File with one id per line; only these documents are searched.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="Search only documents whose columns fulfil this filter, "
            "e.g. 'category = \"linux\" and year >= 2020'. leafkit info names the columns."
        ),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(
            "--encoder",
            "--student",
            help="Another student of the same space to use instead of the one in the index: a folder or a name. An "
            "engine has none inside.",
        ),
    ] = None,
    hybrid: Annotated[
        str | None,
        typer.Option(
            help="Fuse the vectors with BM25: the weight of the vectors from 0 (BM25 alone) to 1, such as 0.6, or rrf "
            "for reciprocal rank fusion."
        ),
    ] = None,
    effort: Annotated[
        str | None,
        typer.Option(
            help="Which student of an index with several encodes the queries, such as table, small or full; or "
            "teacher, the model that the index was built with (default: the best student). leafkit info names them.",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[bool, typer.Option(help="First check every file of the index against its hash.")] = True,
    json_lines: Json = False,
) -> None:
    """Search an index with the student in it, on one CPU core and without torch.

    Scores are cosines in the teacher's space, also where a hybrid search orders hits by a fused score. The index is
    opened once for all queries.

    \b
    leafkit search help.index "copy a folder to another machine"
    leafkit search help.index --hybrid 0.6 "tar --exclude"
    leafkit search help.index -k 3 --json "unpack a zip file" "list open ports"
    leafkit search help.index --effort small "list open ports"
    leafkit search help.index "list open ports" --where 'category = "linux" and not (year < 2020 or old exists)'
    cut -f2 questions.tsv | leafkit search help.index --queries -
    leafkit search postgresql://user@host/database#docs --student my-student "list open ports"
    """
    from leafkit.search.searcher import Searcher

    texts = [*(query or []), *_read_lines(queries)]
    if not texts:
        raise OptionError('no query was given. Write: leafkit search INDEX "a query", or use --queries FILE.')
    teacher = partial(open_recorded_teacher, Path(index)) if effort == "teacher" and not is_engine_url(index) else None
    searcher = Searcher.open(index, encoder=encoder, teacher=teacher, verify=verify)
    allowed = None if allow is None else list(_read_lines(str(allow)))
    found = searcher.search(texts, k=k, allow=allowed, where=where, hybrid=_fusion(hybrid), effort=effort)
    for text, hits in zip(texts, found):
        if json_lines:
            say_json({"query": text, "hits": hits.to_dicts()})
        else:
            _print_hits(text, hits, title=len(texts) > 1)


def _fusion(text: str | None) -> float | str | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _read_lines(path: str | None) -> Iterator[str]:
    if path is None:
        return
    try:
        lines = sys.stdin.readlines() if path == "-" else Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} cannot be read as UTF-8 text: {error}") from error
    yield from (line.strip() for line in lines if line.strip())


def _print_hits(text: str, hits: Hits, *, title: bool) -> None:
    if title:
        say(f"\n{text}")
    fused = [""] * len(hits) if hits.fused is None else [f"  {score:.3f}" for score in hits.fused]
    for rank, (name, score, also, payload) in enumerate(zip(hits.ids, hits.scores, fused, hits.payload), start=1):
        words = " ".join(f"{payload.get('title', '')} {payload.get('text', '')}".split())
        snippet = words if len(words) <= 90 else words[:89] + "…"
        say(f"{rank:>3}  {score:.3f}{also}  {field(name)}  {snippet}")
    if not hits.ids:
        say("  nothing found")
