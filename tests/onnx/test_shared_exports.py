"""The tests' own saving of time: models that are equal in all that a graph depends on share one export."""

from types import SimpleNamespace

import pytest
import torch
from transformers import BertConfig

from leafkit.onnx.graph import TransformerGraph
from leafkit.students.encoder import open_student
from tests.fixtures.exports import export_key, sharing_equal_exports


def make(*, eps=1e-5, weight=1.0, heads=2, attention="sdpa", path="here"):
    """A model whose settings are an attribute of a module, the configuration of another, and weights."""
    norm, linear = torch.nn.LayerNorm(4, eps=eps), torch.nn.Linear(4, 4, bias=False)
    torch.nn.init.constant_(linear.weight, weight)
    linear.config = BertConfig(num_attention_heads=heads, name_or_path=path, attn_implementation=attention)
    linear.name_or_path = path
    return torch.nn.Sequential(norm, linear)


@pytest.fixture
def share(tmp_path):
    """Export and return what is then in the file; each real export writes its number."""
    calls = iter("0123456789")
    program = SimpleNamespace(save=lambda path, external_data: (tmp_path / path).write_text(next(calls)))
    export = sharing_equal_exports(lambda *_, **__: program, tmp_path / "shared")

    def run(model, **options):
        export(model, (torch.ones(2, 8),), **options).save(str(tmp_path / "got.onnx"))
        return (tmp_path / "got.onnx").read_text()

    return run


def test_equal_models_share_an_export_wherever_they_were_loaded_from(share):
    assert [share(make()), share(make()), share(make(path="there"))] == ["0", "0", "0"]


@pytest.mark.parametrize("other", [{"eps": 1e-6}, {"weight": 2.0}, {"heads": 4}, {"attention": "eager"}])
def test_models_that_differ_share_nothing(share, other):
    assert [share(make()), share(make(**other)), share(make())] == ["0", "1", "0"]


def test_other_options_of_the_export_are_another_export(share):
    assert [share(make(), optimize=True), share(make(), optimize=False)] == ["0", "1"]


def test_a_copy_of_a_student_is_equal_to_it_until_a_weight_changes(exported, copied):
    graphs = [TransformerGraph(list(open_student(folder, device="cpu").model)).eval() for folder in (exported, copied)]
    first, second = (export_key(graph, (), {}) for graph in graphs)
    assert first == second
    with torch.no_grad():
        next(graphs[1].parameters())[0, 0] += 1
    assert export_key(graphs[1], (), {}) != first


def test_an_export_to_a_file_of_its_own_is_not_shared(tmp_path):
    export = sharing_equal_exports(lambda model, examples, file: file.write_text("own"), tmp_path / "shared")
    export(make(), (), tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_text() == "own"
    assert not (tmp_path / "shared").exists()
