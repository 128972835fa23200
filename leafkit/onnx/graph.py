"""Write a model as one ONNX graph: token ids in, text vectors out, with pooling, head and normalisation inside.

The first output is ``sentence_embedding`` (batch, dim). text-embeddings-inference prefers it to all other outputs and
does not pool it. fastembed takes it with ``PoolingType.DISABLED``, and transformers.js returns it as
``(await model(inputs)).sentence_embedding``.

The pipeline of transformers.js knows only ``last_hidden_state``, ``logits`` and ``token_embeddings``, and pools the one
it finds. The second output, ``logits`` (batch, length, dim), therefore repeats the vector for each token, so that any
pooling gives the vector back. Other runtimes would pool the other two names and apply the head a second time.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import onnx
import torch
from torch import Tensor, nn

from leafkit.errors import ExportError
from leafkit.onnx.head import HEAD
from leafkit.search.query_encoder import OUTPUT
from leafkit.students.student import Body, Student, is_normalize

REPEATED = "logits"
LARGE = 1 << 30


class TransformerGraph(nn.Module):
    """A transformer model that takes named tensors instead of a dict."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        """Share the ``modules`` of a model."""
        super().__init__()
        self.modules_in_order = nn.ModuleList(_exportable(module) for module in modules)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return vectors (batch, dim) of token ids, mask and types (batch, length), and their copy for each token."""
        features = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            features["token_type_ids"] = token_type_ids
        for module in self.modules_in_order:
            features = module(features)
        return _repeated(features[OUTPUT], input_ids)


class StaticGraph(nn.Module):
    """A table of token vectors with a masked mean, so that runtimes feed it like a transformer."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        """Copy the token table, which is the first of ``modules``, and share the others."""
        super().__init__()
        table, *rest = modules
        weight = cast(nn.EmbeddingBag, table.embedding).weight
        self.table = nn.Embedding.from_pretrained(weight.detach().clone())
        self.rest = nn.ModuleList(_exportable(module) for module in rest)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors (batch, dim) of token ids and mask (batch, length), and their copy for each token."""
        mask = attention_mask.to(torch.float32).unsqueeze(-1)
        total = (self.table(input_ids) * mask).sum(dim=1)
        features = {OUTPUT: total / mask.sum(dim=1).clamp(min=1.0)}
        for module in self.rest:
            features = module(features)
        return _repeated(features[OUTPUT], input_ids)


class Unit(nn.Module):
    """Scale vectors to length 1 without writing their width into the graph, as `Normalize` does."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scale the vectors to length 1."""
        vectors = features[OUTPUT]
        return {**features, OUTPUT: vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)}


def _exportable(module: nn.Module) -> nn.Module:
    """Return ``module`` in a form that lets `leafkit.onnx.head` later put a head of another width into the graph.

    A head without bias gets a bias of 0, so that every head is one Gemm. The exporter removes the zeros again.
    """
    if is_normalize(module):
        return Unit()
    linear = getattr(module, "linear", None)
    if not isinstance(linear, nn.Linear) or linear.bias is not None:
        return module
    module = copy.deepcopy(module)
    linear = cast(nn.Linear, module.linear)
    linear.bias = nn.Parameter(torch.zeros(linear.out_features))
    return module


def _repeated(vectors: Tensor, input_ids: Tensor) -> tuple[Tensor, Tensor]:
    return vectors, vectors.unsqueeze(1).expand(-1, input_ids.shape[1], -1)


def write_float(student: Student, path: Path) -> None:
    """Write the float32 graph of ``student``, with free batch size and length, to ``path``.

    Raises `ExportError` if torch cannot export the student.
    """
    graph = write_model(list(student.model), path)
    _name_products(path, graph)


def write_model(modules: Sequence[nn.Module], path: Path, *, may_split: bool = False) -> nn.Module:
    """Write the float32 graph of the ``modules`` of a sentence-transformers model to ``path``, and return the graph.

    Batch size and length are free. With ``may_split``, weights of more than a gigabyte go to a second file next to
    ``path``, because one ONNX file holds at most two. Raises `ExportError` if torch cannot export the model.
    """
    body = Body.of(modules)
    names = _input_names(body)
    graph = (StaticGraph(modules) if body.kind == "table" else TransformerGraph(modules)).eval()
    size = sum(weight.numel() * weight.element_size() for weight in graph.parameters())
    # The exporter takes sizes of 1 for constants, and merges inputs that are one tensor.
    examples = tuple(torch.ones(2, 8, dtype=torch.long) for _ in names)
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", min=2, max=_positions(body))}
    shapes = tuple(dict(free) for _ in names)
    try:
        with quiet_exporter(), torch.no_grad():
            # With dynamo=True and no file the exporter returns a program, never None.
            program: Any = torch.onnx.export(
                graph,
                examples,
                input_names=list(names),
                output_names=[OUTPUT, REPEATED],
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
            program.save(str(path), external_data=may_split and size > LARGE)
    except Exception as error:  # the exporter has no error class of its own
        raise ExportError(
            f"torch cannot write this model as ONNX: {error}. Use another model, or distil without an export."
        ) from error
    return graph


def copy_graph(source: Path, path: Path) -> None:
    """Copy the graph at ``source`` to ``path`` without what the exporter noted about where it came from."""
    model = onnx.load(str(source))
    _forget_origin(model)
    onnx.save(model, str(path))


def _forget_origin(model: onnx.ModelProto) -> None:
    """Remove the notes of the exporter in place: stack traces with the paths of files on this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def _name_products(path: Path, graph: nn.Module) -> None:
    """Name the head `HEAD`, and give transposed matrices the names that they have in torch.

    The head is the last Gemm: a Dense inside the body is an earlier one. Equal matrices keep the exporter's names.
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
    _forget_origin(model)
    onnx.save(model, str(path))


def _input_names(body: Body) -> tuple[str, ...]:
    """Return the inputs that the tokenizer gives and the model uses, in the order that runtimes expect."""
    if body.kind == "table":
        return ("input_ids", "attention_mask")
    given = body.tokenizer.model_input_names
    used = inspect.signature(body.transformer.forward).parameters
    return tuple(n for n in ("input_ids", "attention_mask", "token_type_ids") if n in given and n in used)


def _positions(body: Body) -> int:
    """Return the longest input, in tokens, that the graph must allow."""
    config = body.transformer.config if body.kind == "transformer" else None
    return int(getattr(config, "max_position_embeddings", None) or 1 << 16)


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence the warnings and logs of exporter and quantiser, which no user can act on, inside the block."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
