"""Teachers of every kind, made from the tiny teachers."""

import json
import shutil

import pytest

from tests.fixtures.filling_teacher import filling, hash_teacher

__all__ = ["filling", "hash_teacher"]


@pytest.fixture(scope="session")
def sentence_model():
    """Open a folder with sentence-transformers itself, in float32, to compare with."""
    from sentence_transformers import SentenceTransformer

    return lambda folder: SentenceTransformer(str(folder), device="cpu", local_files_only=True)


@pytest.fixture
def copied(tiny_teacher, tmp_path):
    """A copy of the tiny teacher that a test may change."""
    return shutil.copytree(tiny_teacher, tmp_path / "copied")


@pytest.fixture(scope="session")
def router(tiny_teacher, other_teacher, sentence_model, tmp_path_factory):
    """A model with a Router: queries go through the tiny teacher, documents through the other teacher."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Router

    query, document = sentence_model(tiny_teacher), sentence_model(other_teacher)
    modules = [Router.for_query_document(list(query), list(document))]
    folder = tmp_path_factory.mktemp("router") / "router"
    SentenceTransformer(modules=modules, prompts={"query": "find: ", "document": "page "}, device="cpu").save(
        str(folder)
    )
    return folder


@pytest.fixture(scope="session")
def onnx_folder(tiny_teacher, sentence_model, tmp_path_factory):
    """The transformer of the tiny teacher as ONNX, with its pooling configuration but without torch weights."""
    import torch

    class Tokens(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            return self.model(input_ids=input_ids, attention_mask=attention_mask)[0]

    folder = tmp_path_factory.mktemp("onnx") / "tiny-onnx"
    (folder / "onnx").mkdir(parents=True)
    names = ["input_ids", "attention_mask"]
    # two different tensors: one tensor for both would be exported as one input
    examples = tuple(torch.ones(2, 5, dtype=torch.long) for _ in names)
    program = torch.onnx.export(
        Tokens(sentence_model(tiny_teacher)[0].model).eval(),
        examples,
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_shapes={name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in names},
        dynamo=True,
    )
    program.save(str(folder / "onnx" / "model.onnx"))
    for name in ("tokenizer.json", "tokenizer_config.json", "config_sentence_transformers.json"):
        shutil.copy(tiny_teacher / name, folder / name)
    shutil.copytree(tiny_teacher / "1_Pooling", folder / "1_Pooling")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 64, "pad_token": "[PAD]"}))
    return folder
