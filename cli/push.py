"""leafkit push: upload a student to the hub, or write an index into a database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import with_options
from leafkit.cli.printing import say
from leafkit.engines.url import is_engine_url
from leafkit.errors import OptionError
from leafkit.index.engine_options import EnginePushOptions
from leafkit.options import Options, options_of, without
from leafkit.students.push import PushOptions


@with_options(PushOptions, EnginePushOptions)
def push(
    what: Annotated[
        Path,
        typer.Argument(help="The student folder, or the index folder.", metavar="STUDENT|INDEX", show_default=False),
    ],
    to: Annotated[
        str,
        typer.Argument(help="hub:OWNER/NAME, or the address of an engine with a name after #.", show_default=False),
    ],
    **options: Any,
) -> None:
    """Upload a student to a repository of the Hugging Face hub, or write an index into a database, an engine.

    To the hub only the student's own files are uploaded, in one commit. The repository is made if it does not exist.
    The token is the one of `hf auth login` or of HF_TOKEN.

    An engine gets the vectors, ids and payloads of the documents, and the vector space. The table is created if it does
    not exist. The same command goes on after an interruption, and follows an updated index: it writes only what is
    missing or has changed.

    \b
    leafkit push my-student hub:me/my-student --private
    leafkit push docs.index postgresql://user@host/database#docs
    """
    if is_engine_url(to) or "://" in to:
        from leafkit.index.push import push_index

        _refuse(PushOptions, options, to="an engine")
        say(push_index(what, to, **without(PushOptions, options)))
    else:
        from leafkit.students.push import push as run

        _refuse(EnginePushOptions, options, to="the hub")
        say(run(what, to, **without(EnginePushOptions, options)))


def _refuse(group: type[Options], options: dict[str, Any], *, to: str) -> None:
    """Raise `OptionError` if one of ``options`` belongs to ``group``, which is not for a push to there."""
    if given := options_of(group, options).given():
        raise OptionError(f"--{min(given)} has no meaning for {to}. Leave it out.")
