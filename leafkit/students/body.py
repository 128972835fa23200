"""Build the body of a student, the part before its head, from an existing model or from a config."""

from __future__ import annotations

import inspect
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from leafkit.errors import InputError, OptionError
from leafkit.students.layers import Layers, check_count, keep_layers
from leafkit.students.source import load_tokenizer, quiet_transformers
from leafkit.students.spec import Fresh, Pretrained
from leafkit.students.student import STOCK, Body

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PretrainedConfig, PreTrainedModel

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "tokenizer_config.json")


def pretrained_body(student: Pretrained, model: SentenceTransformer) -> Body:
    """Take the body of the opened ``model`` and keep the layers and the pooling that ``student`` asks for.

    The `Normalize` and the linear maps at the end of the model are left out, because the new head replaces them. With
    ``pick=greedy`` all layers stay, because `leafkit.training.pick` chooses among them later. Raises `OptionError` if
    the model lacks the layers or has no pooling to replace, and `InputError` for modules that a student cannot hold.
    """
    body = Body.of(model)
    _check_stock(student.source, body)
    if student.layers is not None:
        if body.kind != "transformer":
            raise OptionError(f"{student.source} has no transformer layers to choose from. Remove layers=.")
        if student.pick == "even":
            keep_layers(body.transformer, student.layers)
        elif isinstance(student.layers, int):
            check_count(Layers(body.transformer).total, student.layers)
    if student.pooling is not None:
        body = _pooled(student, body)
    return _simplified(body)


def fresh_body(student: Fresh, teacher_model: str | None, seed: int) -> Body:
    """Build the transformer ``student``; weights that are not given are drawn from ``seed``.

    The tokenizer is the one next to the config, or else the one of ``teacher_model``. Raises `InputError` for weights
    that do not fit the config.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    config = _read_config(Path(student.config))
    tokenizer = load_tokenizer(_tokenizer_place(Path(student.config), teacher_model))
    if len(tokenizer) > config.vocab_size:
        raise OptionError(
            f"{student.config} has vocab_size {config.vocab_size}, but its tokenizer has {len(tokenizer)} tokens. "
            f'Set "vocab_size": {len(tokenizer)} or put another tokenizer next to the config.'
        )
    model = _fresh_model(student, config, seed)
    with tempfile.TemporaryDirectory(prefix="leafkit-") as folder, quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        transformer = Transformer(folder)
    return _simplified(Body((transformer, Pooling(transformer.get_embedding_dimension(), student.pooling))))


def _fresh_model(student: Fresh, config: PretrainedConfig, seed: int) -> PreTrainedModel:
    """Return the Hugging Face model with this ``config`` and the weights of ``student``, or weights from ``seed``."""
    import torch
    from transformers import AutoModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if student.weights is None:
            return AutoModel.from_config(config)
        try:
            model, report = AutoModel.from_pretrained(
                student.weights, config=config, dtype=torch.float32, output_loading_info=True
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise _unfit(student, error) from error
    # No sentence vector passes through BERT's pooler.
    if missing := sorted(name for name in report["missing_keys"] if not name.startswith("pooler.")):
        raise _unfit(student, f"{missing[0]} is missing")
    return model


def _unfit(student: Fresh, problem: object) -> InputError:
    return InputError(
        f"the weights in {student.weights} do not fit {student.config}: {problem}. Give both of one model."
    )


def drop_pooler(model: PreTrainedModel) -> bool:
    """Remove BERT's pooler, which no sentence vector passes through.

    Returns whether the class of ``model`` can be built without a pooler.
    """
    if getattr(model, "pooler", None) is not None:
        setattr(model, "pooler", None)  # noqa: B010 - the base class does not declare it
    return "add_pooling_layer" in inspect.signature(type(model).__init__).parameters


def _pooled(student: Pretrained, body: Body) -> Body:
    """Return ``body`` with the pooling that ``student`` asks for."""
    mode = student.pooling
    try:
        pooled = body.with_pooling("cls" if mode == "cls" else "mean")
    except ValueError:
        raise OptionError(
            f"{student.source} has modules that read the output of several poolings at once. Remove pooling=."
        ) from None
    if pooled is None:
        raise OptionError(f"{student.source} has no pooling of tokens that could be replaced. Remove pooling=.")
    return pooled


def _check_stock(source: str, body: Body) -> None:
    if body.unknown_modules or not body.modules:
        names = [type(module).__name__ for module in body.modules]
        allowed = sorted(module.__name__ for module in STOCK)
        raise InputError(
            f"{source} cannot become a student: its modules are {', '.join(names) or 'none'}, "
            f"but a student holds only {', '.join(allowed)}. Choose another model."
        )


def _simplified(body: Body) -> Body:
    """Remove in place what neither training nor export needs, and return ``body``."""
    if body.kind == "transformer":
        drop_pooler(body.transformer)
    for module in body.modules:
        # A prompt is pooled like any other token, so that one graph serves both roles.
        if hasattr(module, "include_prompt"):
            setattr(module, "include_prompt", True)  # noqa: B010 - only Pooling declares it
    return body


def _read_config(path: Path) -> PretrainedConfig:
    from transformers import AutoConfig

    try:
        json.loads((path / "config.json" if path.is_dir() else path).read_text())
        return AutoConfig.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} is not a transformers config: {error}. Give a JSON file that has a model_type."
        ) from error


def _tokenizer_place(config: Path, teacher_model: str | None) -> str:
    folder = config if config.is_dir() else config.parent
    if any((folder / name).is_file() for name in TOKENIZER_FILES):
        return str(folder)
    if teacher_model is None:
        raise OptionError(
            f"there is no tokenizer next to {config}, and this teacher has no tokenizer to use instead. "
            "Put a tokenizer.json next to the config."
        )
    return teacher_model
