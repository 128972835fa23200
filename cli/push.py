"""leafkit push: upload a student to the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import with_options
from leafkit.cli.printing import say
from leafkit.students.push import PushOptions


@with_options(PushOptions)
def push(
    student: Annotated[Path, typer.Argument(help="The student folder.", show_default=False)],
    to: Annotated[str, typer.Argument(help="hub:OWNER/NAME", show_default=False)],
    **options: Any,
) -> None:
    """Upload a student to a repository of the Hugging Face hub, which is made if it does not exist.

    Only the student's own files are uploaded, in one commit. The token is the one of `hf auth login` or of HF_TOKEN.

    \b
    leafkit push my-student hub:me/my-student --private
    """
    from leafkit.students.push import push as run

    say(run(student, to, **options))
