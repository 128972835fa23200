"""A sentence-transformers model as teacher, also one with a Router; needs torch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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

# Padded tokens of one forward pass: small enough for the caches of a CPU, large enough to fill a GPU.
BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}
# Texts tokenised in one call, and how many padded tokens that may make (32 MB for each tensor).
POOL_TEXTS, POOL_TOKENS = 2048, 2**22

log = logging.getLogger("leafkit")


class SentenceTransformerTeacher:
    """Encodes with a sentence-transformers ``model``: the same vectors as its ``encode``, in less time.

    Texts are tokenised many at a time and batched by their exact length; in bfloat16 the transformer alone
    computes in bfloat16, while pooling, head and normalisation stay in float32.
    """

    signals = frozenset({"embeddings", "online"})

    def __init__(self, model: SentenceTransformer, space: Space, *, batch_size: int | None = None) -> None:
        """Take a ``model`` that already is on its device and in its precision; ``batch_size`` bounds a batch's rows."""
        self.model = model.eval()
        self.space = space
        self._batch_rows = batch_size
        self._batch_tokens = BATCH_TOKENS.get(model.device.type, BATCH_TOKENS["cpu"])

    @classmethod
    def open(cls, folder: Path, options: TeacherOptions, *, name: str) -> SentenceTransformerTeacher:
        """The teacher in ``folder``, called ``name`` in its space; raises `InputError` if it cannot be loaded."""
        options.refuse(["pooling"], kind="a sentence-transformers model, which says itself how it pools")
        weights = weights_hash(folder, torch_weight_files(folder))
        model = _load(folder, options)
        if options.max_length is not None:
            _set_max_length(model, options.max_length)
        if options.normalised and not _normalises(model):
            model.append(Normalize())
        if options.normalised is False and _normalises(model):
            raise OptionError(f"{folder} normalises its vectors, which normalised=False cannot undo; leave it out")
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

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Vectors of ``texts``, shape (rows, dim), float32, in the order given."""
        check_role(role)
        vectors = numpy.empty((len(texts), self.space.dim), dtype=numpy.float32)
        sizes = numpy.fromiter(map(len, texts), dtype=numpy.int64, count=len(texts))
        if self.space.max_length is not None:
            sizes = sizes.clip(max=self.space.max_length)
        for pool in length_batches(sizes, tokens=POOL_TOKENS, rows=POOL_TEXTS):
            prompt = self.space.prompt(role)
            features = self.model.preprocess([texts[i] for i in pool], prompt=prompt, task=role)
            batches = self._batches(features, len(pool))
            found = [self._forward(_cut(features, batch), role) for batch in batches]
            vectors[pool[numpy.concatenate(batches)]] = torch.cat(found).float().cpu().numpy()
        return check_vectors(vectors, rows=len(texts), dim=self.space.dim, source=f"the teacher {self.space.teacher}")

    def _batches(self, features: dict[str, Any], rows: int) -> list[Int64]:
        mask = features.get("attention_mask")
        if mask is None:  # not padded at all, as for static embeddings
            return [numpy.arange(rows)]
        return length_batches(mask.sum(dim=1).numpy(), tokens=self._batch_tokens, rows=self._batch_rows)

    def _forward(self, features: dict[str, Any], role: Role) -> torch.Tensor:
        device = self.model.device
        moved = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in features.items()}
        return self.model(moved, task=role)["sentence_embedding"]


def _cut(features: dict[str, Any], batch: Int64) -> dict[str, Any]:
    """The rows ``batch`` of tokenised texts, without the columns that are padding in all of them."""
    mask = features.get("attention_mask")
    if mask is None:
        return features
    rows = torch.from_numpy(batch)
    used = mask[rows].any(dim=0).nonzero()  # padding may stand on either side
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
    except Exception as error:  # the loaders of foreign files raise whatever they like
        hint = (
            "" if options.trust_remote_code else "; a model with its own code needs trust_remote_code, if you trust it"
        )
        raise InputError(f"{folder} cannot be opened with sentence-transformers: {error}{hint}") from error
    return model.float()  # files in float16 or bfloat16 would otherwise compute in it


def set_compute(model: SentenceTransformer, compute: str, *, label: str = "teacher") -> None:
    """Put the transformers of ``model`` into the precision wanted, and say which it is in the log, under ``label``."""
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
    """Bring ``model`` to ``dtype``, all but its rotary frequencies: rounded, they turn far tokens by whole radians."""
    frequencies = {name: buffer for name, buffer in model.named_buffers() if name.endswith("inv_freq")}
    model.to(dtype)
    for name, buffer in frequencies.items():
        owner, _, own = name.rpartition(".")
        setattr(model.get_submodule(owner), own, buffer)


def _to_float32(module: torch.nn.Module, inputs: tuple, features: dict[str, Any]) -> None:
    for name, value in features.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            features[name] = value.float()


def _routes(model: SentenceTransformer) -> list[list[torch.nn.Module]]:
    """The modules a text passes through, one list for each route of a Router."""
    if isinstance(model[0], Router):
        return [[*route.children(), *list(model)[1:]] for route in model[0].sub_modules.values()]
    return [list(model)]


def _normalises(model: SentenceTransformer) -> bool:
    return all(isinstance(route[-1], Normalize) for route in _routes(model))


def _pooling(model: SentenceTransformer) -> str:
    """How tokens become one vector: the modes of the pooling modules, or the module that gives sentence vectors."""
    return "|".join(dict.fromkeys(_route_pooling(route) for route in _routes(model)))


def _route_pooling(route: list[torch.nn.Module]) -> str:
    for module in route:
        if isinstance(module, Pooling):
            modes = [module.pooling_mode] if isinstance(module.pooling_mode, str) else module.pooling_mode
            return "+".join(modes) + ("" if module.include_prompt else " without prompt")
    return type(route[0]).__name__


def _max_length(model: SentenceTransformer) -> int | None:
    length = model.get_max_seq_length()
    # tokenisers without a limit call it 1e30, static embeddings infinity
    return int(length) if length is not None and length < 1e9 else None


def _set_max_length(model: SentenceTransformer, length: int) -> None:
    configs = [module.config for module in model.modules() if isinstance(module, Transformer)]
    limits = [config.max_position_embeddings for config in configs if hasattr(config, "max_position_embeddings")]
    if limits and length > min(limits):
        raise OptionError(f"max_length is {length}, but the model has only {min(limits)} positions")
    model.max_seq_length = length
