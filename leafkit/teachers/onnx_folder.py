"""A teacher that is a folder with an ONNX file. Needs onnxruntime and tokenizers, but not torch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Self, cast

import numpy
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from leafkit.errors import InputError
from leafkit.files.model_folder import read_json, read_modules, weights_hash
from leafkit.space import Space
from leafkit.teachers.exported import GRAPH, MARKER, ExportedTeacher
from leafkit.teachers.options import GRAPHS, POOLINGS, TeacherOptions
from leafkit.texts.batches import length_batches
from leafkit.types import Float32, Int64, Role, check_role
from leafkit.vectors.check import check_vectors
from leafkit.vectors.cosine import are_unit, unit_rows

BATCH_TOKENS = 4096
POOL_TEXTS = 2048  # texts tokenised in one call
# Texts that are encoded when the teacher is opened, to find the width of its vectors and whether they have length 1.
PROBES = ["a", "the length of a vector", "another text, to see whether vectors are of length one"]
SENTENCE = "sentence"  # the pooling recorded for a graph that outputs one vector per text


@dataclass(frozen=True, kw_only=True)
class Graph:
    """An ONNX file that maps token ids to one vector per token, or (``pooled``) to one vector per text."""

    session: onnxruntime.InferenceSession
    output: str
    pooled: bool

    @classmethod
    def open(cls, file: Path) -> Graph:
        """Open the graph in ``file``; raise `InputError` if the graph is not a text encoder."""
        try:
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        except Exception as error:  # the errors of onnxruntime share no base class
            raise InputError(f"cannot open {file} with onnxruntime: {error}") from error
        unknown = {i.name for i in session.get_inputs()} - {"input_ids", "attention_mask", "token_type_ids"}
        if unknown:
            raise InputError(
                f"{file} needs the input {min(unknown)!r}; expected only input_ids, attention_mask and token_type_ids."
            )
        outputs = {output.name: output for output in session.get_outputs()}
        name = "sentence_embedding" if "sentence_embedding" in outputs else next(iter(outputs))
        shape = outputs[name].shape
        if len(shape) not in (2, 3):
            raise InputError(
                f"{file}: the output {name} has the shape {shape}; expected (rows, width) or (rows, tokens, width)."
            )
        return cls(session=session, output=name, pooled=len(shape) == 2)

    def run(self, tokens: dict[str, Int64]) -> Float32:
        """Return the output, (rows, width) or (rows, tokens, width), for input arrays by name, each (rows, tokens)."""
        inputs = {i.name: tokens[i.name] for i in self.session.get_inputs()}
        # onnxruntime's annotation also allows sparse tensors and lists.
        output = cast(NDArray[Any], self.session.run([self.output], inputs)[0])
        return output.astype(numpy.float32, copy=False)


@dataclass(frozen=True, kw_only=True)
class GraphEncoder:
    """Turns texts into vectors: tokenises many at once, batches by number of tokens, runs the graph, pools in float32.

    pad: the id of the padding token.
    pooling: ``mean`` or ``cls``; ignored for a graph that pools its tokens itself.
    batch_rows: the largest number of texts in a batch, or None.
    """

    graph: Graph
    tokenizer: Tokenizer
    pad: int
    pooling: str
    batch_rows: int | None

    def vectors(self, texts: Sequence[str]) -> Float32:
        """Return the vectors of ``texts``, (rows, dim), in the order of ``texts``, neither normalised nor checked."""
        encodings = self.tokenizer.encode_batch(list(texts))
        lengths = numpy.array([len(encoding) for encoding in encodings])
        batches = length_batches(lengths, tokens=BATCH_TOKENS, rows=self.batch_rows)
        by_length = numpy.concatenate([self._encode_batch([encodings[row] for row in batch]) for batch in batches])
        vectors = numpy.empty_like(by_length)
        vectors[numpy.concatenate(batches)] = by_length
        return vectors

    def _encode_batch(self, encodings: list[Encoding]) -> Float32:
        mask = _padded([encoding.attention_mask for encoding in encodings], 0)
        output = self.graph.run(
            {
                "input_ids": _padded([encoding.ids for encoding in encodings], self.pad),
                "attention_mask": mask,
                "token_type_ids": _padded([encoding.type_ids for encoding in encodings], 0),
            }
        )
        if self.graph.pooled:
            return output
        if self.pooling == "cls":
            return output[:, 0]
        weights = mask[:, :, None].astype(numpy.float32)
        return (output * weights).sum(axis=1) / weights.sum(axis=1)


class OnnxTeacher:
    """Encodes with an ONNX file. Pooling and normalisation that are not part of the graph are added in float32."""

    signals = frozenset({"embeddings", "online"})

    def __init__(self, encoder: GraphEncoder, space: Space, *, records_normalisation: bool = True) -> None:
        """Combine ``encoder`` and its space; use `OnnxTeacher.open` instead.

        records_normalisation: whether the folder says that vectors are or are not scaled to length 1.
        """
        self.space = space
        self.records_normalisation = records_normalisation
        self._encoder = encoder

    @classmethod
    def open(cls, folder: Path, options: TeacherOptions) -> OnnxTeacher:
        """Open the ONNX model in ``folder``; raise `InputError` if the folder does not record its pooling.

        A folder that `leafkit.export_teacher` wrote belongs to the teacher's own space. Raises `DamageError` if its
        files are changed.
        """
        options.refuse(["compute", "trust_remote_code"], kind="an ONNX folder, which runs as it was exported")
        if (folder / MARKER).is_file():
            return cls._open_exported(folder, options)
        file = next(folder / at for at in GRAPHS if (folder / at).is_file())
        graph = Graph.open(file)
        length = options.max_length or _max_length(folder)
        encoder = GraphEncoder(
            graph=graph,
            tokenizer=_tokenizer(folder, length),
            pad=_pad(folder),
            pooling=_pooling(folder, options, graph),
            batch_rows=options.teacher_batch_size,
        )
        probes = encoder.vectors(PROBES)
        # A large graph stores its weights in a second file: model.onnx.data or model.onnx_data.
        weights = weights_hash(file.parent, file.parent.glob("model.onnx*"))
        space = Space(
            **options.identity(folder.resolve().name, weights),
            **options.prompts(read_json(folder / "config_sentence_transformers.json").get("prompts") or {}),
            dim=probes.shape[1],
            normalised=_normalises(folder, options, probes),
            pooling=encoder.pooling,
            max_length=length,
        )
        return cls(encoder, space, records_normalisation=(folder / "modules.json").is_file())

    def with_fields(self, fields: Mapping[str, Any]) -> Self:
        """Return the same teacher with other ``fields`` of its space: a prompt, or ``normalised``."""
        other = copy.copy(self)
        other.space = replace(self.space, **fields)
        return other

    @classmethod
    def _open_exported(cls, folder: Path, options: TeacherOptions) -> OnnxTeacher:
        record = ExportedTeacher.read(folder)
        space = record.opened(folder, options)
        graph, pad = Graph.open(folder / GRAPH), _pad(folder)

        def opened(space: Space) -> OnnxTeacher:
            tokenizer = _tokenizer(folder, space.max_length)
            rows = options.teacher_batch_size
            encoder = GraphEncoder(graph=graph, tokenizer=tokenizer, pad=pad, pooling=SENTENCE, batch_rows=rows)
            return cls(encoder, space)

        record.check(folder, opened(record.space))
        return opened(space)

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the vectors of ``texts``, shape (rows, dim), float32, in the order of ``texts``."""
        prompt = self.space.prompt(check_role(role))
        vectors = numpy.empty((len(texts), self.space.dim), dtype=numpy.float32)
        for start in range(0, len(texts), POOL_TEXTS):
            pool = slice(start, start + POOL_TEXTS)
            vectors[pool] = self._encoder.vectors([prompt + text for text in texts[pool]])
        source = f"the teacher {self.space.teacher}"
        checked = check_vectors(vectors, rows=len(texts), dim=self.space.dim, source=source)
        return unit_rows(checked) if self.space.normalised else checked


def _padded(rows: list[list[int]], fill: int) -> Int64:
    return numpy.array(list(zip_longest(*rows, fillvalue=fill)), dtype=numpy.int64).T


def _tokenizer(folder: Path, length: int | None) -> Tokenizer:
    file = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception
        raise InputError(f"{file} is not a tokenizer ({error}). Download the model again.") from error
    tokenizer.no_padding()
    if length is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(length)
    return tokenizer


def _pad(folder: Path) -> int:
    """Return the id of the padding token, from which some models derive positions; 0 if no file records one."""
    name = read_json(folder / "tokenizer_config.json").get("pad_token")
    name = name["content"] if isinstance(name, dict) else name
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return (tokenizer.token_to_id(name) if name else None) or (tokenizer.padding or {}).get("pad_id", 0)


def _max_length(folder: Path) -> int | None:
    for file, field in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        length = read_json(folder / file).get(field)
        if length is not None and length < 1e9:  # 1e30 means no limit
            return int(length)
    truncation = read_json(folder / "tokenizer.json").get("truncation") or {}
    return truncation.get("max_length")


def _pooling(folder: Path, options: TeacherOptions, graph: Graph) -> str:
    pooling = options.pooling or _own_pooling(read_json(folder / "1_Pooling" / "config.json"))
    if graph.pooled:
        return pooling or SENTENCE
    if pooling not in POOLINGS:
        problem = f"has the pooling {pooling}, which is not supported" if pooling else "does not record its pooling"
        raise InputError(f"{folder} {problem}. Set pooling='mean' or pooling='cls'.")
    if any(module["type"].endswith(".Dense") for module in read_modules(folder)):
        raise InputError(f"{folder} has a Dense head outside its ONNX file. Export the model with its head.")
    return pooling


def _own_pooling(config: dict[str, Any]) -> str | None:
    """Return the pooling in a 1_Pooling/config.json, in the format of sentence-transformers 6 or earlier."""
    if "pooling_mode" in config:
        modes = config["pooling_mode"]
        return modes if isinstance(modes, str) else "+".join(modes)
    names = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    modes = [names.get(key, key) for key, on in config.items() if key.startswith("pooling_mode_") and on]
    return "+".join(modes) or None


def _normalises(folder: Path, options: TeacherOptions, probes: Float32) -> bool:
    if options.normalised is not None:
        return options.normalised
    return are_unit(probes) or any(module["type"].endswith(".Normalize") for module in read_modules(folder))
