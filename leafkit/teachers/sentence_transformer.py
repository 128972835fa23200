"""A teacher that is a sentence-transformers model, with or without a Router. Needs torch."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Router, Transformer

from leafkit.errors import InputError, OptionError
from leafkit.files.model_folder import torch_weight_files, weights_hash
from leafkit.hardware import has_fast_bfloat16
from leafkit.space import Space
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.batches import length_batches
from leafkit.types import Float32, Int64, Role, check_role
from leafkit.vectors.check import check_vectors

# Padded tokens per forward pass: few enough for the caches of a CPU, enough to fill a GPU.
BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}
# Texts tokenised in one call, and the limit of padded tokens in that call (32 MB per tensor).
POOL_TEXTS, POOL_TOKENS = 2048, 2**22

log = logging.getLogger("leafkit")


class SentenceTransformerTeacher:
    """Encodes with a sentence-transformers ``model``: the same vectors as ``model.encode``, in less time.

    Many texts are tokenised in one call, then batched by their number of tokens. With ``compute="bfloat16"`` only the
    transformer computes in bfloat16; pooling, head and normalisation stay in float32.
    """

    signals = frozenset({"embeddings", "online"})

    def __init__(self, model: SentenceTransformer, space: Space, *, batch_size: int | None = None) -> None:
        """Use ``model``, whose device and precision are set already; ``batch_size`` limits the rows of a batch."""
        self.model = model.eval()
        self.space = space
        self._batch_rows = batch_size
        self._batch_tokens = BATCH_TOKENS.get(model.device.type, BATCH_TOKENS["cpu"])

    @classmethod
    def open(cls, folder: Path, options: TeacherOptions, *, name: str) -> SentenceTransformerTeacher:
        """Open the model in ``folder`` as a teacher whose space has the name ``name``.

        Raises `InputError` if the model cannot be loaded and `OptionError` for an option that does not fit the model.
        """
        options.refuse(["pooling"], kind="a sentence-transformers model, which records its pooling")
        weights = weights_hash(folder, torch_weight_files(folder))
        model = _load(folder, options)
        if options.max_length is not None:
            _set_max_length(model, options.max_length)
        if options.normalised and not _normalises(model):
            model.append(Normalize())
        if options.normalised is False and _normalises(model):
            raise OptionError(f"normalised is False, but {folder} normalises its vectors. Remove the option.")
        space = Space(
            **options.identity(name, weights),
            **options.prompts(model.prompts),
            dim=_width(model),
            normalised=_normalises(model),
            pooling=_pooling(model),
            max_length=_max_length(model),
        )
        set_compute(model, options.compute)
        return cls(model, space, batch_size=options.teacher_batch_size)

    def with_fields(self, fields: Mapping[str, Any]) -> Self:
        """Return the same teacher with other ``fields`` of its space: ``query_prompt`` or ``document_prompt``."""
        other = copy.copy(self)
        other.space = replace(self.space, **fields)
        return other

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the vectors of ``texts``, shape (rows, dim), float32, in the order of ``texts``."""
        check_role(role)
        vectors = numpy.empty((len(texts), self.space.dim), dtype=numpy.float32)
        sizes = numpy.fromiter(map(len, texts), dtype=numpy.int64, count=len(texts))
        if self.space.max_length is not None:
            sizes = sizes.clip(max=self.space.max_length)
        for pool in length_batches(sizes, tokens=POOL_TOKENS, rows=POOL_TEXTS):
            prompt = self.space.prompt(role)
            features = self.model.preprocess([texts[i] for i in pool], prompt=prompt, task=role)
            batches = self._batches(features, len(pool))
            encoded = [self._forward(take_rows(features, batch), role) for batch in batches]
            vectors[pool[numpy.concatenate(batches)]] = torch.cat(encoded).float().cpu().numpy()
        return check_vectors(vectors, rows=len(texts), dim=self.space.dim, source=f"the teacher {self.space.teacher}")

    def _batches(self, features: dict[str, Any], rows: int) -> list[Int64]:
        mask = features.get("attention_mask")
        if mask is None:  # no padding, as for static embeddings
            return [numpy.arange(rows)]
        return length_batches(mask.sum(dim=1).numpy(), tokens=self._batch_tokens, rows=self._batch_rows)

    def _forward(self, features: dict[str, Any], role: Role) -> torch.Tensor:
        device = self.model.device
        moved = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in features.items()}
        return self.model(moved, task=role)["sentence_embedding"]


def take_rows(features: dict[str, Any], batch: Int64) -> dict[str, Any]:
    """Return the rows ``batch`` of tokenised texts, without the columns that are padding in all these rows."""
    mask = features.get("attention_mask")
    if mask is None:
        return features
    rows = torch.from_numpy(batch)
    used = mask[rows].any(dim=0).nonzero()  # padding may be on either side
    columns = slice(int(used[0]), int(used[-1]) + 1)
    return {
        name: value[rows, columns] if isinstance(value, torch.Tensor) and value.shape[:2] == mask.shape else value
        for name, value in features.items()
    }


def _width(model: SentenceTransformer) -> int:
    width = model.get_embedding_dimension()
    return len(model.encode("width")) if width is None else width


def _load(folder: Path, options: TeacherOptions) -> SentenceTransformer:
    try:
        model = SentenceTransformer(
            str(folder), device=options.device, trust_remote_code=options.trust_remote_code, local_files_only=True
        )
    except Exception as error:  # transformers and its loaders raise many types
        hint = " If the model contains its own code and you trust it, set trust_remote_code."
        raise InputError(
            f"cannot open {folder} with sentence-transformers: {error}.{'' if options.trust_remote_code else hint}"
        ) from error
    return model.float()  # weights stored in float16 or bfloat16 would otherwise be used in that precision


def set_compute(model: SentenceTransformer, compute: str, *, label: str = "teacher") -> None:
    """Set the precision in which the transformers of ``model`` compute, and log the precision with ``label``.

    compute: ``float32``, ``bfloat16``, ``float16``, or ``auto``: bfloat16 if the device supports it, else float32.
    """
    device = model.device.type
    if compute == "auto":
        compute = "bfloat16" if has_fast_bfloat16(device) else "float32"
    log.info("%s: computing in %s on %s, batches sorted by length", label, compute, device)
    if compute == "float32":
        return
    for module in model.modules():
        if isinstance(module, Transformer):
            _cast(module.model, getattr(torch, compute))
            module.register_forward_hook(_to_float32)


def _cast(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Convert ``model`` to ``dtype``, except for its rotary frequencies.

    Rounding the frequencies would rotate distant tokens by whole radians.
    """
    frequencies = {name: buffer for name, buffer in model.named_buffers() if name.endswith("inv_freq")}
    model.to(dtype)
    for name, buffer in frequencies.items():
        module, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(module), attribute, buffer)


def _to_float32(module: torch.nn.Module, inputs: tuple, features: dict[str, Any]) -> None:
    for name, value in features.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            features[name] = value.float()


def _routes(model: SentenceTransformer) -> list[list[torch.nn.Module]]:
    """Return the modules that a text passes through: one list per route of a Router, or a single list."""
    first, *others = model.children()
    if isinstance(first, Router):
        return [[*route.children(), *others] for route in first.sub_modules.values()]
    return [[first, *others]]


def _normalises(model: SentenceTransformer) -> bool:
    return all(isinstance(route[-1], Normalize) for route in _routes(model))


def _pooling(model: SentenceTransformer) -> str:
    """Return how token vectors become one vector: the pooling modes, or the first module's class name."""
    return "|".join(dict.fromkeys(_route_pooling(route) for route in _routes(model)))


def _route_pooling(route: list[torch.nn.Module]) -> str:
    for module in route:
        if isinstance(module, Pooling):
            modes = [module.pooling_mode] if isinstance(module.pooling_mode, str) else module.pooling_mode
            return "+".join(modes) + ("" if module.include_prompt else " without prompt")
    return type(route[0]).__name__


def _max_length(model: SentenceTransformer) -> int | None:
    length = model.get_max_seq_length()
    # A tokenizer without a limit reports 1e30, static embeddings report infinity.
    return int(length) if length is not None and length < 1e9 else None


def _set_max_length(model: SentenceTransformer, length: int) -> None:
    configs = [module.config for module in model.modules() if isinstance(module, Transformer)]
    limits = [config.max_position_embeddings for config in configs if hasattr(config, "max_position_embeddings")]
    if limits and length > min(limits):
        raise OptionError(
            f"max_length is {length}; expected at most {min(limits)}, the number of positions of the model."
        )
    model.max_seq_length = length
