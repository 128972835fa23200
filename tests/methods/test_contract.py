"""The laws that every method obeys. Tests find the methods by their folders and name none."""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Literal, get_origin

import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods import coverage
from leafkit.methods.batch import TokenStates
from leafkit.methods.method import Architecture, Probe, StepMethod
from leafkit.methods.objectives.leaf import Leaf
from leafkit.methods.plan import REMEDIES, make_plan
from leafkit.methods.registry import field_types, method_class, method_folders, method_name, method_spec, parse_method
from leafkit.training.distill import distill
from leafkit.training.recipe_file import read_recipe

ROOT = Path(__file__).resolve().parents[2]
ALL = {name: method_class(name) for name in method_folders()}
STEP_METHODS = {name: kind for name, kind in ALL.items() if issubclass(kind, StepMethod)}
LOSSES = {name: kind for name, kind in STEP_METHODS.items() if kind.terms is not StepMethod.terms}
TRAINING = {name: kind for name, kind in ALL.items() if not issubclass(kind, Architecture)}
EACH = {"argvalues": list(ALL), "argnames": "name"}


@pytest.fixture(scope="module")
def texts(sentences, tmp_path_factory):
    """Texts of two sources, both roles and four classes; half of the queries name a document that answers them."""
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    rows = [
        {
            "_id": str(i),
            "text": text,
            "role": ("query", "document")[i % 2],
            "source": "ab"[i % 3 == 0],
            "label": f"class {i % 4}",
            **({"pair": str(i + 1)} if i % 4 == 0 else {}),
        }
        for i, text in enumerate(sentences)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def train(texts, tiny_teacher, tmp_path_factory):
    """Return a function that trains with some methods into a folder and returns weights and validation curve."""
    cache = tmp_path_factory.mktemp("vectors")

    def run(folder, *methods):
        chosen = {
            option: [method for method in methods if method.option == option and not isinstance(method, Leaf)]
            for option in ("methods", "feeds", "writers")
        }
        distill(
            texts,
            str(tiny_teacher),
            "teacher:layers=2",
            folder,
            **chosen | {"methods": [Leaf(), *chosen["methods"]]},
            cache=cache,
            precision="float32",
            epochs=2,
            batch_size=16,
            learning_rate=1e-3,
            valid_every=8,
            export=False,
        )
        history = json.loads((folder / "leafkit.json").read_text())["training"]["history"]
        own = {method_name(method) for method in methods}
        curve = [{key: v for key, v in entry.items() if key not in {"seconds", *own}} for entry in history]
        files = sorted(folder.rglob("*.safetensors"))
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}, curve

    return run


@pytest.fixture(scope="module")
def plain(train, tmp_path_factory):
    """The weights and the validation curve of plain LEAF."""
    return train(tmp_path_factory.mktemp("plain") / "student")


def small(kind):
    """Return the method with its own sizes for two hundred texts; other fields keep their defaults."""
    return kind(**kind.small)


@pytest.mark.parametrize(**EACH)
def test_a_method_has_a_test_and_a_recipe(name):
    folder = method_folders()[name]
    assert (ROOT / "tests" / "methods" / folder / f"test_{name}.py").is_file()
    recipe = ROOT / "models" / "recipes" / f"{name}.toml"
    assert recipe.is_file()
    first = recipe.read_text().splitlines()[0]
    assert first.startswith(f"# leafkit distill TEXTS --recipe {name} ")
    options = read_recipe(recipe)
    given = options.get(ALL[name].option, [])
    specs = [given] if isinstance(given, str) else given
    assert name in [spec.partition(":")[0] for spec in specs]


@pytest.mark.parametrize(**EACH)
def test_a_method_states_its_paper_needs_and_off_values(name):
    kind = ALL[name]
    assert kind.paper.startswith("https://")
    assert not kind.__doc__.startswith(f"{kind.__name__}("), "the dataclass has no docstring"
    plain = {hint for hint in field_types(kind).values() if get_origin(hint) is not Literal}
    assert plain <= {str, int, float, bool}, "a field that cannot be written as NAME:FIELD=VALUE"
    assert kind().needs | small(kind).needs <= set(REMEDIES)
    assert set(kind.off) | set(kind.small) <= {field.name for field in dataclasses.fields(kind)}
    assert kind.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(kind))


@pytest.mark.parametrize(**EACH)
def test_a_method_that_teaches_states_its_categories_in_the_survey(name):
    kind = ALL[name]
    skills = {skill for group in coverage.SKILLS.values() for skill in group}
    given = [
        (kind.elicits, set(coverage.ELICITATIONS)),
        (kind.learns_by, set(coverage.ALGORITHMS)),
        (kind.skills, skills),
    ]
    for stated, known in given:
        assert set(stated) <= known, f"{stated} contains a category that leafkit.methods.coverage does not know"
        assert bool(stated) != issubclass(kind, Probe | Architecture), "a method that teaches states each category"
    assert set(kind.verticals) <= set(coverage.VERTICALS)


@pytest.mark.parametrize(**EACH)
def test_a_spec_is_parsed_back_to_the_same_method(name):
    method = small(ALL[name])
    assert parse_method(method_spec(method)) == method
    assert method_name(method) == name


@pytest.mark.parametrize("name", [name for name, kind in TRAINING.items() if kind().needs])
def test_missing_needs_are_refused_before_training(name):
    kind = ALL[name]
    methods = {"methods": [Leaf()], "feeds": [], "writers": []}
    methods[kind.option].append(kind())
    plan = make_plan(**methods)
    for missing in kind().needs:
        with pytest.raises(OptionError, match=f"{name} needs {missing}, but this training has none"):
            plan.check_needs(frozenset(REMEDIES) - {missing})
    plan.check_needs(frozenset(REMEDIES))


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("rows", [range(8), range(1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_are_finite_one_per_text_and_give_gradients_to_the_student_only(
    name, rows, dtype, make_batch, make_setting
):
    method = small(LOSSES[name])
    torch.manual_seed(0)
    state = method.build(make_setting())
    batch = make_batch(rows, dtype=dtype)
    teacher = batch.teacher.clone()
    terms = method.terms(batch, state)
    for loss in terms.values():
        assert loss.shape == (len(rows),)
        assert loss.isfinite().all()
    sum(loss.sum() for loss in terms.values()).backward()
    inputs = (batch.raw, batch.hidden, batch.tokens.student, *batch.layers, *batch.states)
    reached = [tensor.grad for tensor in inputs if tensor.grad is not None]
    assert all(gradient.isfinite().all() for gradient in reached)
    assert reached
    assert batch.teacher.grad is None
    assert torch.equal(batch.teacher, teacher)
    assert all(buffer.grad is None for buffer in state.buffers())


@pytest.mark.parametrize("name", list(LOSSES))
def test_permuting_the_rows_permutes_the_losses(name, make_batch, make_setting):
    method = small(LOSSES[name])
    torch.manual_seed(0)
    state = method.build(make_setting())
    batch = make_batch(range(8))
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    permuted = {
        field: value[order] if isinstance(value, torch.Tensor) else value for field, value in vars(batch).items()
    } | {
        "layers": tuple(layer[order] for layer in batch.layers),
        "states": tuple(states[order] for states in batch.states),
        "tokens": TokenStates(**{side: states[order] for side, states in vars(batch.tokens).items()}),
        "features": {key: value[order] for key, value in batch.features.items()},
        "origin": batch.origin,
    }
    before, after = method.terms(batch, state), method.terms(type(batch)(**permuted), state)
    for key, loss in before.items():
        torch.testing.assert_close(after[key], loss[order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list(TRAINING))
def test_a_disabled_method_trains_plain_leaf_bit_for_bit(name, train, plain, tmp_path):
    kind = TRAINING[name]
    assert train(tmp_path / "off", kind(**{**kind.small, **kind.off})) == plain


@pytest.mark.parametrize("name", list(TRAINING))
def test_a_resumed_training_equals_an_uninterrupted_one_and_writes_a_stock_student(name, train, tmp_path, monkeypatch):
    from sentence_transformers import SentenceTransformer

    method = small(TRAINING[name])
    whole = train(tmp_path / "whole", method)

    @contextlib.contextmanager
    def stop_soon():
        steps = iter(range(100))
        yield lambda: next(steps) == 11

    with monkeypatch.context() as patched:
        patched.setattr("leafkit.training.loop.interruption", stop_soon)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "stopped", method)
    assert train(tmp_path / "stopped", method) == whole
    student = SentenceTransformer(str(tmp_path / "stopped"), device="cpu")
    assert [type(module).__name__ for module in student] == ["Transformer", "Pooling", "Dense", "Normalize"]


@pytest.mark.parametrize("name", [name for name, kind in TRAINING.items() if issubclass(kind, Probe)])
def test_a_probe_changes_nothing(name, train, plain, tmp_path):
    assert train(tmp_path / "watched", small(ALL[name])) == plain
