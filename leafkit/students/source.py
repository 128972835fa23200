"""Open what a student can start from: models and tokenizers in folders, packages and on the hub."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leafkit.errors import InputError
from leafkit.files.model_folder import package_folder
from leafkit.shipped import resolve_student

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGE = "package:"


def source_folder(source: str) -> Path:
    """Return the folder of ``source``: a path, the name of a shipped student, or ``package:NAME``.

    The folder of a hub id does not exist.
    """
    if source.startswith(PACKAGE):
        return package_folder(source.removeprefix(PACKAGE))
    return resolve_student(source)


def open_model(source: str) -> SentenceTransformer:
    """Open the sentence-transformers model at ``source`` on the CPU in float32.

    ``source`` is a folder, ``package:NAME`` or a hub id. Raises `InputError` if no model can be opened there.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    folder = source_folder(source)
    try:
        with quiet_transformers():
            name = str(folder) if folder.exists() else source
            return SentenceTransformer(name, device="cpu").to(torch.float32)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{source} cannot be opened as a sentence-transformers model: {error}. "
            "Give a folder, package:NAME or a hub id of such a model."
        ) from error


def load_tokenizer(place: str) -> Any:
    """Open the fast transformers tokenizer in a folder, hub id or tokenizer.json.

    Raises `InputError` if no tokenizer can be read there.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        if place.endswith(".json"):
            return PreTrainedTokenizerFast(tokenizer_file=place)
        return AutoTokenizer.from_pretrained(place)
    except Exception as error:  # the Rust reader raises bare Exception
        raise InputError(
            f"cannot read a tokenizer from {place}: {error}. Give a folder or hub id with a tokenizer, or a "
            "tokenizer.json."
        ) from error


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the progress bars and warnings of transformers inside the block."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
