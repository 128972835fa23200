"""The Python runtimes of a student: sentence-transformers, onnxruntime and fastembed."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import numpy

from leafkit.runtimes.golden import GoldenVectors, NotInstalledError
from leafkit.runtimes.runtime import Answer
from leafkit.search.query_encoder import FILES, Precision, QueryEncoder
from leafkit.students.folder import check_files, read_student
from leafkit.types import Float32


@dataclass(frozen=True)
class SentenceTransformers:
    """Plain sentence-transformers on torch, with the prompts that the student's folder records."""

    name = "sentence-transformers"
    file = "modules.json"
    precision = "float32"
    prompt = "encode_query, encode_document"

    def encode(self, golden: GoldenVectors) -> Answer:
        """Open the folder with ``SentenceTransformer(folder)`` and encode each text alone."""
        version = _version("sentence-transformers")
        facts = read_student(golden.folder)
        if facts.runtime_only:
            raise NotInstalledError(f"no torch weights here; {golden.advice}")
        check_files(facts)
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(golden.folder), device="cpu", local_files_only=True)
        encoders = {"query": model.encode_query, "document": model.encode_document}
        vectors = [
            encoders[role](text, show_progress_bar=False) for text, role in zip(golden.texts, golden.roles, strict=True)
        ]
        return _answer(vectors, f"{version}, torch {_version('torch')}")


@dataclass(frozen=True)
class Onnxruntime:
    """leafkit's own query encoder on onnxruntime."""

    precision: Precision
    name = "onnxruntime"
    prompt = "by QueryEncoder"

    @property
    def file(self) -> str:
        """The graph of this precision."""
        return FILES[self.precision]

    def encode(self, golden: GoldenVectors) -> Answer:
        """Open the graph with `QueryEncoder` and encode each text in its role."""
        golden.require(self.precision)
        encoder = QueryEncoder.open(golden.folder, precision=self.precision)
        vectors = [encoder.encode([text], role)[0] for text, role in zip(golden.texts, golden.roles, strict=True)]
        return _answer(vectors, _version("onnxruntime"))


@dataclass(frozen=True)
class Fastembed:
    """fastembed, to which the student is a custom model that needs no pooling."""

    precision: Precision
    prompt: str
    name = "fastembed"

    @property
    def file(self) -> str:
        """The graph of this precision."""
        return FILES[self.precision]

    def encode(self, golden: GoldenVectors) -> Answer:
        """Register the folder as a custom model and encode each text alone."""
        version = _version("fastembed")
        golden.require(self.precision)
        # fastembed has no type information, and is no dependency of leafkit.
        from fastembed import TextEmbedding  # type: ignore[import-not-found]
        from fastembed.common.model_description import ModelSource, PoolingType  # type: ignore[import-not-found]

        name = f"leafkit-check/{uuid.uuid4().hex}"  # fastembed refuses a name that it knows
        TextEmbedding.add_custom_model(
            model=name,
            pooling=PoolingType.DISABLED,
            normalization=False,
            sources=ModelSource(hf=name),
            dim=golden.space.dim,
            model_file=self.file,
        )
        model = TextEmbedding(name, specific_model_path=str(golden.folder))
        vectors = [next(iter(model.embed([text]))) for text in golden.prompted()]
        return _answer(vectors, version)


def installed(golden: GoldenVectors) -> list[Any]:
    """Return every Python runtime, the installed and the missing ones, for the files of ``golden``."""
    precisions: list[Any] = list(golden.vectors)
    prompt = golden.prompts_by_hand
    return [
        SentenceTransformers(),
        *(Onnxruntime(precision) for precision in precisions),
        *(Fastembed(precision, prompt) for precision in precisions),
    ]


def _answer(vectors: list[Any], version: str) -> Answer:
    stacked: Float32 = numpy.stack([numpy.asarray(vector, dtype=numpy.float32) for vector in vectors])
    return Answer(vectors=stacked, rows=range(len(stacked)), version=version)


def _version(distribution: str) -> str:
    """Return the version of an installed package; raise `NotInstalledError` if it is missing."""
    if find_spec(distribution.replace("-", "_")) is None:
        raise NotInstalledError("not installed")
    return metadata.version(distribution)
