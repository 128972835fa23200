"""The laws that every system obeys, by existing in its folder: no system is named here."""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Literal, get_origin

import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.objectives.leaf import Leaf
from leafkit.methods.plan import REMEDIES, make_plan
from leafkit.methods.registry import describe, fields, find, name_of, names, parse
from leafkit.methods.system import Feed, Method, Probe, Writer
from leafkit.training.distill import distill
from leafkit.training.recipe_file import read_options

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = {name: find(name) for name in names()}
METHODS = {name: kind for name, kind in SYSTEMS.items() if issubclass(kind, Method)}
LOSSES = {name: kind for name, kind in METHODS.items() if kind.terms is not Method.terms}
TRAINING = {name: kind for name, kind in SYSTEMS.items() if issubclass(kind, Method | Probe | Writer)}
EACH = {"argvalues": list(SYSTEMS), "argnames": "name"}


@pytest.fixture(scope="module")
def texts(sentences, tmp_path_factory):
    """Texts of two sources, both roles and four classes."""
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    rows = [
        {"text": text, "role": ("query", "document")[i % 2], "source": "ab"[i % 3 == 0], "label": f"class {i % 4}"}
        for i, text in enumerate(sentences)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def train(texts, tiny_teacher, tmp_path_factory):
    """Train with some systems into a folder; what the student weighs and what its validation saw."""
    cache = tmp_path_factory.mktemp("vectors")

    def run(folder, *systems):
        feeds = [system for system in systems if isinstance(system, Feed | Writer)]
        distill(
            texts,
            str(tiny_teacher),
            "teacher:layers=2",
            folder,
            methods=[Leaf(), *(system for system in systems if system not in feeds and not isinstance(system, Leaf))],
            feeds=feeds,
            cache=cache,
            precision="float32",
            epochs=2,
            batch_size=16,
            learning_rate=1e-3,
            valid_every=8,
            export=False,
        )
        history = json.loads((folder / "leafkit.json").read_text())["training"]["history"]
        own = {name_of(system) for system in systems}
        curve = [{key: v for key, v in entry.items() if key not in {"seconds", *own}} for entry in history]
        files = sorted(folder.rglob("*.safetensors"))
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}, curve

    return run


@pytest.fixture(scope="module")
def plain(train, tmp_path_factory):
    """What plain LEAF ends with."""
    return train(tmp_path_factory.mktemp("plain") / "student")


def small(kind):
    """The system with its sizes cut to two hundred texts, where it has such fields; the rest as it ships."""
    known = {field.name for field in dataclasses.fields(kind)}
    sizes = {"count": 8, "every": 5, "first": 40, "picks": 20, "share": 0.5, "generations": 1, "relation": True}
    return kind(**{name: value for name, value in sizes.items() if name in known and kind is not Leaf})


@pytest.mark.parametrize(**EACH)
def test_a_system_is_three_files(name):
    folder = names()[name]
    assert (ROOT / "tests" / "kd" / folder / f"test_{name}.py").is_file()
    recipe = ROOT / "models" / "recipes" / f"{name}.toml"
    assert recipe.is_file()
    first = recipe.read_text().splitlines()[0]
    assert first.startswith(f"# leafkit distill TEXTS --recipe {name} ")
    options = read_options(recipe)
    given = [*options.get("methods", []), *options.get("feeds", []), options.get("architecture", "")]
    assert name in [spec.partition(":")[0] for spec in given]


@pytest.mark.parametrize(**EACH)
def test_a_system_says_what_it_is(name):
    kind = SYSTEMS[name]
    assert kind.paper.startswith("https://")
    assert not kind.__doc__.startswith(f"{kind.__name__}("), "a dataclass without a docstring of its own"
    plain = {hint for hint in fields(kind).values() if get_origin(hint) is not Literal}
    assert plain <= {str, int, float, bool}, "a field that cannot be written as NAME:FIELD=VALUE"
    assert kind.needs <= set(REMEDIES)
    assert set(kind.off) <= {field.name for field in dataclasses.fields(kind)}
    assert kind.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(kind))


@pytest.mark.parametrize(**EACH)
def test_the_spec_of_a_system_gives_it_back(name):
    system = small(SYSTEMS[name])
    assert parse(describe(system)) == system
    assert name_of(system) == name


@pytest.mark.parametrize("name", [name for name, kind in SYSTEMS.items() if kind.needs and name in TRAINING])
def test_what_a_system_needs_is_asked_for_before_training(name):
    kind = SYSTEMS[name]
    plan = make_plan(*([[], [kind()]] if issubclass(kind, Feed | Writer) else [[kind()], []]))
    for missing in kind.needs:
        with pytest.raises(OptionError, match=f"{name} needs {missing}"):
            plan.check(frozenset(REMEDIES) - {missing})
    plan.check(frozenset(REMEDIES))


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("rows", [range(8), range(1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_are_finite_and_one_per_text_with_a_gradient_for_the_student_alone(
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
    reached = [t.grad for t in (batch.raw, batch.hidden, *batch.layers) if t.grad is not None]
    assert all(gradient.isfinite().all() for gradient in reached)
    assert reached
    assert batch.teacher.grad is None
    assert torch.equal(batch.teacher, teacher)
    assert all(buffer.grad is None for buffer in state.buffers())


@pytest.mark.parametrize("name", list(LOSSES))
def test_losses_follow_their_texts_when_the_rows_are_permuted(name, make_batch, make_setting):
    method = small(LOSSES[name])
    torch.manual_seed(0)
    state = method.build(make_setting())
    batch = make_batch(range(8))
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    permuted = {
        field: value[order] if isinstance(value, torch.Tensor) else value for field, value in vars(batch).items()
    } | {"layers": tuple(layer[order] for layer in batch.layers)}
    before, after = method.terms(batch, state), method.terms(type(batch)(**permuted), state)
    for key, loss in before.items():
        torch.testing.assert_close(after[key], loss[order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list(TRAINING))
def test_switched_off_it_is_plain_leaf_bit_for_bit(name, train, plain, tmp_path):
    kind = TRAINING[name]
    # As many anchors as there are texts for, which changes nothing where a system is off.
    sizes = {"count": 8} if "count" in {field.name for field in dataclasses.fields(kind)} else {}
    assert train(tmp_path / "off", kind(**sizes | kind.off)) == plain


@pytest.mark.parametrize("name", list(TRAINING))
def test_stopped_and_resumed_it_ends_as_if_it_had_not_been_and_leaves_a_student_like_any_other(
    name, train, tmp_path, monkeypatch
):
    from sentence_transformers import SentenceTransformer

    system = small(TRAINING[name])
    whole = train(tmp_path / "whole", system)

    @contextlib.contextmanager
    def stop_soon():
        steps = iter(range(100))
        yield lambda: next(steps) == 11

    with monkeypatch.context() as patched:
        patched.setattr("leafkit.training.loop.interruption", stop_soon)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "stopped", system)
    assert train(tmp_path / "stopped", system) == whole
    student = SentenceTransformer(str(tmp_path / "stopped"), device="cpu")
    assert [type(module).__name__ for module in student] == ["Transformer", "Pooling", "Dense", "Normalize"]


@pytest.mark.parametrize("name", [name for name, kind in TRAINING.items() if issubclass(kind, Probe)])
def test_a_probe_changes_nothing(name, train, plain, tmp_path):
    assert train(tmp_path / "watched", SYSTEMS[name]()) == plain
