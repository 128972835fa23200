"""The part of a student before its head: stock sentence-transformers modules that give one vector a text."""

from __future__ import annotations

import contextlib
import inspect
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leafkit.errors import InputError, OptionError
from leafkit.files.model_folder import package_folder
from leafkit.shipped import resolve_student
from leafkit.students.layers import Layers, check_count, keep_layers
from leafkit.students.spec import FORMS, Fresh, Pretrained

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import PretrainedConfig

# Modules that a student may hold; anything else needs trust_remote_code or more than text.
STOCK = {"Transformer", "StaticEmbedding", "Pooling", "Dense", "LayerNorm", "Normalize", "WeightedLayerPooling"}


def pretrained_modules(student: Pretrained, teacher_model: str | None) -> list[Any]:
    """The modules of an existing model without its last Normalize and linear head, with only the layers asked for.

    All layers are there where they are to be picked by what they do (``pick=greedy``): `leafkit.training.pick` does.
    A linear map before the new head adds nothing: the head alone can be both. So a student goes on as it was.
    ``teacher_model`` is the folder or hub id that ``teacher`` stands for; None if the teacher has no such model.
    """
    source = student.source
    if source == "teacher":
        if teacher_model is None:
            raise OptionError(
                "the student is to be cut from the teacher, but this teacher is no sentence-transformers model; "
                f"name a model to start from. A student is one of:\n{FORMS}"
            )
        source = teacher_model
    modules: list[Any] = list(open_model(source))
    while modules and _adds_nothing(modules[-1]):
        modules.pop()
    _check_stock(source, modules)
    if student.layers is not None:
        if type(modules[0]).__name__ != "Transformer":
            raise OptionError(f"{source} has no transformer layers to choose from; leave out layers=")
        if student.pick == "even":
            keep_layers(modules[0].model, student.layers)
        elif isinstance(student.layers, int):
            check_count(Layers(modules[0].model).total, student.layers)
    if student.pooling is not None:
        modules = _pooled(source, modules, student.pooling)
    return _plain(modules)


def fresh_modules(student: Fresh, teacher_model: str | None, seed: int) -> list[Any]:
    """A transformer with random weights drawn from ``seed``, and mean pooling.

    The tokenizer lies beside the config, or else is the one of ``teacher_model``.
    """
    import torch
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoModel

    config = _read_config(Path(student.config))
    tokenizer = load_tokenizer(_tokenizer_place(Path(student.config), teacher_model))
    if len(tokenizer) > config.vocab_size:
        raise OptionError(
            f"{student.config} has vocab_size {config.vocab_size}, but its tokenizer knows {len(tokenizer)} tokens; "
            f'set "vocab_size": {len(tokenizer)} or put another tokenizer beside the config'
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(config)
    with tempfile.TemporaryDirectory(prefix="leafkit-") as folder, quiet():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        transformer = Transformer(folder)
    return _plain([transformer, Pooling(transformer.get_embedding_dimension(), "mean")])


def open_model(source: str) -> SentenceTransformer:
    """The sentence-transformers model at ``source`` on the CPU in float32; raises `InputError` if there is none.

    A student that has no torch weights, as one that ships, is restored from its ONNX file.
    """
    import torch
    from sentence_transformers import SentenceTransformer

    from leafkit.students.folder import MARKER, read_student

    name = source.removeprefix("package:")
    place = resolve_student(source) if name == source else package_folder(name)
    if (place / MARKER).is_file() and read_student(place).runtime_only:
        from leafkit.onnx.restore import restore

        return restore(place)
    try:
        with quiet():
            return SentenceTransformer(str(place) if place.exists() else source, device="cpu").to(torch.float32)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{source} cannot be opened as a sentence-transformers model: {error}") from error


def load_tokenizer(place: str) -> Any:
    """The fast transformers tokenizer in a folder, hub id or tokenizer.json; raises `InputError` if there is none."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        if place.endswith(".json"):
            return PreTrainedTokenizerFast(tokenizer_file=place)
        return AutoTokenizer.from_pretrained(place)
    except Exception as error:  # the Rust reader raises bare Exception
        raise InputError(f"{place} holds no tokenizer that can be read: {error}") from error


def spare_pooler(model: Any) -> bool:
    """Drop BERT's pooler, which no sentence vector passes through; True if the class can be built without one."""
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return "add_pooling_layer" in inspect.signature(type(model).__init__).parameters


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave out the loading bars and notes of transformers inside the block."""
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


def _adds_nothing(module: Any) -> bool:
    name = type(module).__name__
    if name == "Dense":
        return type(module.activation_function).__name__ == "Identity" and not module.use_residual
    return name == "Normalize"


def _pooled(source: str, modules: list[Any], mode: str) -> list[Any]:
    """``modules`` with the same tokens pooled by ``mode``."""
    from sentence_transformers.sentence_transformer.modules import Pooling

    places = [place for place, module in enumerate(modules) if type(module).__name__ == "Pooling"]
    if not places:
        raise OptionError(f"{source} pools no tokens of a transformer; leave out pooling=")
    place = places[-1]
    width = modules[place].embedding_dimension
    if modules[place].pooling_output_dimension != width and place + 1 < len(modules):
        raise OptionError(f"{source} builds on a pooling of several kinds at once; leave out pooling=")
    return [*modules[:place], Pooling(width, mode), *modules[place + 1 :]]


def _check_stock(source: str, modules: list[Any]) -> None:
    names = [type(module).__name__ for module in modules]
    strange = [name for name in names if name not in STOCK]
    if strange or not modules:
        raise InputError(
            f"{source} cannot become a student: it is made of {', '.join(names) or 'nothing'}, "
            f"but a student holds only {', '.join(sorted(STOCK))}"
        )


def _plain(modules: list[Any]) -> list[Any]:
    """The same modules with what training and export do not need taken off."""
    if type(modules[0]).__name__ == "Transformer":
        spare_pooler(modules[0].model)
    for module in modules:
        # A prompt counts like any other token: one graph serves both roles.
        if hasattr(module, "include_prompt"):
            module.include_prompt = True
    return modules


def _read_config(path: Path) -> PretrainedConfig:
    from transformers import AutoConfig

    try:
        json.loads((path / "config.json" if path.is_dir() else path).read_text())
        return AutoConfig.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is no transformers config (a JSON file with model_type): {error}") from error


def _tokenizer_place(config: Path, teacher_model: str | None) -> str:
    folder = config if config.is_dir() else config.parent
    if any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json")):
        return str(folder)
    if teacher_model is None:
        raise OptionError(f"there is no tokenizer beside {config}, and this teacher has none to lend; put one there")
    return teacher_model
