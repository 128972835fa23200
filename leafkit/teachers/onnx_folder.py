"""An ONNX folder as teacher: onnxruntime and tokenizers, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy
import onnxruntime
from tokenizers import Encoding, Tokenizer

from leafkit.errors import InputError
from leafkit.files.model_folder import read_json, read_modules, weights_hash
from leafkit.space import Space
from leafkit.teachers.options import GRAPHS, POOLINGS, TeacherOptions
from leafkit.texts.batches import length_batches
from leafkit.types import Float32, Int64, Role, check_role
from leafkit.vectors.check import check_vectors
from leafkit.vectors.cosine import are_unit, unit_rows

BATCH_TOKENS = 4096
POOL_TEXTS = 2048  # texts tokenised in one call
PROBES = ["a", "the length of a vector", "another text, to see whether vectors are of length one"]
SENTENCE = "sentence"  # the pooling of a graph whose output is one vector a text


@dataclass(frozen=True, kw_only=True)
class Graph:
    """An ONNX file that turns tokens into vectors of tokens, or of whole texts."""

    session: onnxruntime.InferenceSession
    output: str
    pooled: bool

    @classmethod
    def open(cls, file: Path) -> Graph:
        """The graph in ``file``; raises `InputError` if it is not one that encodes texts."""
        try:
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no class of their own
            raise InputError(f"{file} cannot be opened with onnxruntime: {error}") from error
        unknown = {i.name for i in session.get_inputs()} - {"input_ids", "attention_mask", "token_type_ids"}
        if unknown:
            raise InputError(f"{file} wants the input {min(unknown)!r}, which a text encoder does not have")
        outputs = {output.name: output for output in session.get_outputs()}
        name = "sentence_embedding" if "sentence_embedding" in outputs else next(iter(outputs))
        shape = outputs[name].shape
        if len(shape) not in (2, 3):
            raise InputError(f"{file}: {name} has shape {shape}, wanted (rows, width) or (rows, tokens, width)")
        return cls(session=session, output=name, pooled=len(shape) == 2)

    def run(self, tokens: dict[str, Int64]) -> Float32:
        """The output for ``tokens``, each (rows, tokens)."""
        wanted = {i.name: tokens[i.name] for i in self.session.get_inputs()}
        return self.session.run([self.output], wanted)[0].astype(numpy.float32, copy=False)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Texts to vectors with a ``graph``: tokenised many at a time, batched by exact length, pooled in float32."""

    graph: Graph
    tokenizer: Tokenizer
    pad: int
    pooling: str
    batch_rows: int | None

    def vectors(self, texts: Sequence[str]) -> Float32:
        """Vectors of ``texts`` as the graph gives them, in the order given."""
        encodings = self.tokenizer.encode_batch(list(texts))
        lengths = numpy.array([len(encoding) for encoding in encodings])
        batches = length_batches(lengths, tokens=BATCH_TOKENS, rows=self.batch_rows)
        found = numpy.concatenate([self._batch([encodings[row] for row in batch]) for batch in batches])
        vectors = numpy.empty_like(found)
        vectors[numpy.concatenate(batches)] = found
        return vectors

    def _batch(self, encodings: list[Encoding]) -> Float32:
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
    """Encodes with an ONNX file; what that lacks of pooling and normalisation is added in float32."""

    signals = frozenset({"embeddings", "online"})

    def __init__(self, reader: Reader, space: Space) -> None:
        """Use `OnnxTeacher.open`."""
        self.space = space
        self._reader = reader

    @classmethod
    def open(cls, folder: Path, options: TeacherOptions) -> OnnxTeacher:
        """The teacher in ``folder``; raises `InputError` if it does not say how its tokens become one vector."""
        options.refuse(["compute", "trust_remote_code"], kind="an ONNX folder, which runs as it was exported")
        file = next(folder / at for at in GRAPHS if (folder / at).is_file())
        graph = Graph.open(file)
        length = options.max_length or _max_length(folder)
        reader = Reader(
            graph=graph,
            tokenizer=_tokenizer(folder, length),
            pad=_pad(folder),
            pooling=_pooling(folder, options, graph),
            batch_rows=options.teacher_batch_size,
        )
        probes = reader.vectors(PROBES)
        # The weights of a large graph lie beside it: model.onnx.data, model.onnx_data.
        weights = weights_hash(file.parent, file.parent.glob("model.onnx*"))
        space = Space(
            **options.identity(folder.resolve().name, weights),
            **options.prompts(read_json(folder / "config_sentence_transformers.json").get("prompts") or {}),
            dim=probes.shape[1],
            normalised=_normalises(folder, options, probes),
            pooling=reader.pooling,
            max_length=length,
        )
        return cls(reader, space)

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Vectors of ``texts``, shape (rows, dim), float32, in the order given."""
        prompt = self.space.prompt(check_role(role))
        vectors = numpy.empty((len(texts), self.space.dim), dtype=numpy.float32)
        for start in range(0, len(texts), POOL_TEXTS):
            pool = slice(start, start + POOL_TEXTS)
            vectors[pool] = self._reader.vectors([prompt + text for text in texts[pool]])
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
        raise InputError(f"{file} is not a tokenizer ({error}); fetch the model again") from error
    tokenizer.no_padding()
    if length is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(length)
    return tokenizer


def _pad(folder: Path) -> int:
    """The id of the padding token, by which some models count positions; 0 where nothing tells."""
    name = read_json(folder / "tokenizer_config.json").get("pad_token")
    name = name["content"] if isinstance(name, dict) else name
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return (tokenizer.token_to_id(name) if name else None) or (tokenizer.padding or {}).get("pad_id", 0)


def _max_length(folder: Path) -> int | None:
    for file, field in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        length = read_json(folder / file).get(field)
        if length is not None and length < 1e9:  # no limit is written as 1e30
            return int(length)
    truncation = read_json(folder / "tokenizer.json").get("truncation") or {}
    return truncation.get("max_length")


def _pooling(folder: Path, options: TeacherOptions, graph: Graph) -> str:
    pooling = options.pooling or _own_pooling(read_json(folder / "1_Pooling" / "config.json"))
    if graph.pooled:
        return pooling or SENTENCE
    if pooling not in POOLINGS:
        known = f"pools by {pooling}, which is not supported" if pooling else "does not say how it pools its tokens"
        raise InputError(f"{folder} {known}; say pooling='mean' or pooling='cls'")
    if any(module["type"].endswith(".Dense") for module in read_modules(folder)):
        raise InputError(f"{folder} has a Dense head outside of its ONNX file; export it with the head inside")
    return pooling


def _own_pooling(config: dict[str, Any]) -> str | None:
    """The pooling in a 1_Pooling/config.json, as sentence-transformers writes it now and wrote it before 6."""
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
