"""leafkit serve: answer searches over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from leafkit.cli.options import Indexes, OtherEncoder, Verify, open_recorded_teacher, with_options
from leafkit.serve.options import ListenOptions, ServeOptions


@with_options(ListenOptions, ServeOptions)
def serve(
    indexes: Indexes,
    encoder: OtherEncoder = None,
    teacher: Annotated[
        bool,
        typer.Option(
            "--teacher",
            help="Also answer searches with the effort teacher. The model that the index was built with is opened at "
            "the first of them, and needs torch.",
        ),
    ] = False,
    verify: Verify = True,
    **options: Any,
) -> None:
    """Serve indexes over HTTP: search, query embeddings, health and metrics, without torch.

    Endpoints: /search, /v1/embeddings (as OpenAI), /embed (as text-embeddings-inference), /health, /metrics, /info. An
    index that `leafkit update` changes is reopened without losing a request.

    \b
    leafkit serve docs.index
    leafkit serve docs.index faq=other/faq.index --port 9000 --api-key-file keys.txt
    curl localhost:8000/search -d '{"query": "copy a folder to another machine", "k": 3}'
    """
    from leafkit.serve.run import serve as run

    run(indexes, encoder=encoder, teacher=open_recorded_teacher if teacher else None, verify=verify, **options)
