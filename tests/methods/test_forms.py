"""The forms of methods that their default fields leave out, each in a real training that is interrupted and resumed."""

import contextlib
import json

import pytest

from leafkit.training.distill import distill

FORMS = ["bdkd:peer=teacher:layers=1,count=8", "acam:form=tokens", "trg:instance_weight=1", "dho:reserved=0.25"]


@pytest.fixture
def texts(sentences, tmp_path):
    """Texts of four classes; every third text has no label."""
    rows = [{"text": text} | ({"label": f"class {row % 4}"} if row % 3 else {}) for row, text in enumerate(sentences)]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_resumed_training_equals_an_uninterrupted_one(form, texts, tiny_teacher, tmp_path, monkeypatch):
    def train(name, methods):
        distill(
            texts,
            str(tiny_teacher),
            "teacher:layers=2",
            tmp_path / name,
            methods=methods,
            cache=tmp_path / "vectors",
            precision="float32",
            epochs=2,
            batch_size=16,
            learning_rate=1e-3,
            keep="last",
            export=False,
        )
        folder = tmp_path / name
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.safetensors")}

    @contextlib.contextmanager
    def stop_soon():
        steps = iter(range(100))
        yield lambda: next(steps) == 11

    whole = train("whole", ["leaf", form])
    assert whole != train("plain", ["leaf"])
    with monkeypatch.context() as patched:
        patched.setattr("leafkit.training.loop.interruption", stop_soon)
        with pytest.raises(KeyboardInterrupt):
            train("stopped", ["leaf", form])
    assert train("stopped", ["leaf", form]) == whole
