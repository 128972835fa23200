"""A student as one ONNX graph: tokens in, sentence vectors out, with pooling, head and normalisation inside.

The first output, ``sentence_embedding`` (batch, dim), is what text-embeddings-inference takes before all others, to
pool no more; what fastembed takes with ``PoolingType.DISABLED``; and what transformers.js gives as
``(await model(inputs)).sentence_embedding``.

The pipeline of transformers.js knows ``last_hidden_state``, ``logits`` and ``token_embeddings`` alone, and pools what
it finds. So the vector is there once more for each token, as ``logits`` (batch, length, dim), which any pooling turns
back into the vector. The other two names would be pooled elsewhere, with the head put on a second time.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import torch
from torch import Tensor, nn

from leafkit.errors import ExportError
from leafkit.onnx.head import HEAD
from leafkit.search.query_encoder import OUTPUT

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

REPEATED = "logits"
# How the names of a student's weights begin in its graph: attributes of the two classes below.
MODULES, TABLE, TABLE_REST = "modules_in_order.", "table.", "rest."


class TransformerGraph(nn.Module):
    """The student's own modules, called on named tensors instead of a dict."""

    def __init__(self, model: SentenceTransformer) -> None:
        """Share the student's modules."""
        super().__init__()
        self.modules_in_order = nn.ModuleList(_any_width(module) for module in model)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Vectors (batch, dim) of token ids, mask and types, each (batch, length); and again, for each token."""
        features = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            features["token_type_ids"] = token_type_ids
        for module in self.modules_in_order:
            features = module(features)
        return _repeated(features[OUTPUT], input_ids)


class StaticGraph(nn.Module):
    """A token table with a masked mean, so that runtimes feed it like any transformer; then head and norm."""

    def __init__(self, model: SentenceTransformer) -> None:
        """Copy the table of the student's StaticEmbedding."""
        super().__init__()
        self.table = nn.Embedding.from_pretrained(model[0].embedding.weight.detach().clone())
        self.rest = nn.ModuleList(_any_width(module) for module in list(model)[1:])

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (batch, dim) of token ids and mask, each (batch, length); and again, for each token."""
        mask = attention_mask.to(torch.float32).unsqueeze(-1)
        total = (self.table(input_ids) * mask).sum(dim=1)
        features = {OUTPUT: total / mask.sum(dim=1).clamp(min=1.0)}
        for module in self.rest:
            features = module(features)
        return _repeated(features[OUTPUT], input_ids)


class Unit(nn.Module):
    """Normalize without the width written into the graph."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scale the vectors to length 1."""
        vectors = features[OUTPUT]
        return {**features, OUTPUT: vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)}


def _any_width(module: nn.Module) -> nn.Module:
    """``module`` in a form that lets `leafkit.onnx.head` put another head of another width into its graph.

    A head without bias gets one of 0, so that every head is one Gemm; the exporter takes the zeros out again.
    """
    if type(module).__name__ == "Normalize":
        return Unit()
    linear = getattr(module, "linear", None)
    if not isinstance(linear, nn.Linear) or linear.bias is not None:
        return module
    module = copy.deepcopy(module)
    module.linear.bias = nn.Parameter(torch.zeros(linear.out_features))
    return module


def _repeated(vectors: Tensor, input_ids: Tensor) -> tuple[Tensor, Tensor]:
    return vectors, vectors.unsqueeze(1).expand(-1, input_ids.shape[1], -1)


def is_static(model: SentenceTransformer) -> bool:
    """Whether the student is a token table."""
    return type(model[0]).__name__ == "StaticEmbedding"


def token_limit(model: SentenceTransformer) -> int | None:
    """How many tokens the student reads of a text; None: all of them. A table goes by its tokenizer's own limit."""
    if is_static(model):
        return (model[0].tokenizer.truncation or {}).get("max_length")
    return model.max_seq_length


def write_float(model: SentenceTransformer, path: Path) -> None:
    """Write the student's float32 graph to ``path``; batch and length stay free. Raises `ExportError`."""
    names = _input_names(model)
    graph = (StaticGraph(model) if is_static(model) else TransformerGraph(model)).eval()
    # Sizes of 1 would be taken for constants. Each input is a tensor of its own, else the exporter merges them.
    examples = tuple(torch.ones(2, 8, dtype=torch.long) for _ in names)
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", min=2, max=_positions(model))}
    shapes = tuple(dict(free) for _ in names)
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                graph,
                examples,
                input_names=list(names),
                output_names=[OUTPUT, REPEATED],
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
            program.save(str(path), external_data=False)
        _name_products(path, graph)
    except Exception as error:  # the exporter has no error class of its own
        raise ExportError(f"torch cannot write this student as ONNX: {error}") from error


def _name_products(path: Path, graph: nn.Module) -> None:
    """Give the last Gemm of the graph its name, and turned matrices those that they have in torch.

    A Dense that the student's model came with is a Gemm before the head. Equal matrices keep the exporter's name.
    """
    model = onnx.load(str(path))
    *_, head = (node for node in model.graph.node if node.op_type == "Gemm")
    head.name = HEAD
    names: dict[bytes, list[str]] = {}
    for name, module in graph.named_modules():
        if isinstance(module, nn.Linear):
            names.setdefault(module.weight.T.float().numpy(force=True).tobytes(), []).append(f"{name}.weight")
    taken, renamed = {tensor.name for tensor in model.graph.initializer}, {}
    for tensor in model.graph.initializer:
        same = names.get(tensor.raw_data, []) if len(tensor.dims) == 2 else []
        if len(same) == 1 and same[0] not in taken:
            renamed[tensor.name] = same[0]
            tensor.name = same[0]
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    onnx.save(model, str(path))


def _input_names(model: SentenceTransformer) -> tuple[str, ...]:
    """What the tokenizer gives and the model uses, in the order runtimes expect."""
    if is_static(model):
        return ("input_ids", "attention_mask")
    given = model.tokenizer.model_input_names
    wanted = inspect.signature(model[0].model.forward).parameters
    return tuple(n for n in ("input_ids", "attention_mask", "token_type_ids") if n in given and n in wanted)


def _positions(model: SentenceTransformer) -> int:
    config = getattr(getattr(model[0], "model", None), "config", None)
    return int(getattr(config, "max_position_embeddings", None) or 1 << 16)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's own chatter, which no user can act on, off stdout and stderr."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
