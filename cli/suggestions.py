"""The option that the user probably meant: the field's other names for our options, else the most similar option."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from typer.core import TyperCommand

# What other programs call our options. The first name that the command has is suggested.
ALIASES = {
    "batch": ("--batch-size", "--teacher-batch-size"),
    "batch-size": ("--teacher-batch-size",),
    "bs": ("--batch-size", "--teacher-batch-size"),
    "cache-dir": ("--cache",),
    "column": ("--text-column",),
    "corpus": ("--data",),
    "dataset": ("--data",),
    "dimension": ("--dim", "--dims"),
    "dimensions": ("--dim", "--dims"),
    "dims": ("--dim",),
    "dtype": ("--precision", "--compute"),
    "eval": ("--valid",),
    "f": ("--overwrite",),
    "filter": ("--where",),
    "force": ("--overwrite",),
    "fp16": ("--compute", "--precision"),
    "gpu": ("--device",),
    "id": ("--id-column",),
    "ids": ("--allow", "--id-column"),
    "iterations": ("--epochs",),
    "limit": ("-k", "--documents"),
    "loss": ("--method", "--objective"),
    "lr": ("--learning-rate",),
    "max-len": ("--max-length",),
    "max-seq-length": ("--max-length",),
    "model": ("--encoder", "--teacher"),
    "model-name": ("--encoder", "--teacher"),
    "n": ("-k", "--epochs"),
    "name": ("--teacher-name",),
    "num-epochs": ("--epochs",),
    "num-results": ("-k",),
    "o": ("--out",),
    "output": ("--out",),
    "output-dir": ("--out",),
    "prompt": ("--query-prompt",),
    "quantisation": ("--precision", "--int8"),
    "quantization": ("--precision", "--int8"),
    "quantize": ("--precision", "--int8"),
    "query": ("--queries",),
    "query-instruction": ("--query-prompt",),
    "shuffle-seed": ("--seed",),
    "size": ("-k", "--dim"),
    "skip-errors": ("--skip-bad",),
    "tasks": ("--mteb", "--task"),
    "top": ("-k",),
    "top-k": ("-k",),
    "topk": ("-k",),
    "truncate-dim": ("--dim", "--dims"),
    "validation": ("--valid",),
    "wd": ("--weight-decay",),
    "weights": ("--student",),
    "y": ("--overwrite",),
    "yes": ("--overwrite",),
}


def suggestion(option: str, known: Collection[str]) -> str | None:
    """Return the option of ``known`` that ``option`` probably means, or None."""
    name = option.lstrip("-").replace("_", "-").lower()
    for alias in (f"--{name}", *ALIASES.get(name, ())):
        if alias in known:
            return alias
    return next(iter(difflib.get_close_matches(f"--{name}", known, n=1, cutoff=0.7)), None)


class Command(TyperCommand):
    """A command whose message about an unknown option names the option that was probably meant."""

    # Depending on its version, typer uses the click package or a copy inside itself, so there is no one type for the
    # context and for the error.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as usual, and add a suggestion to the message about an unknown option."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if option := getattr(error, "option_name", None):
                known = [name for parameter in self.params for name in parameter.opts if name.startswith("-")]
                meant = suggestion(option, known)
                hint = f". Did you mean {meant}?" if meant else ""
                vars(error).update(message=f"No such option: {option}{hint}", possibilities=None)
            raise
