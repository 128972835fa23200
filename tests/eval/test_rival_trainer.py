import numpy
from sentence_transformers import SentenceTransformer

from eval.rival_trainer import train_rival


def test_the_rival_learns_the_vectors_and_prints_nothing(tiny_teacher, other_teacher, sentences, tmp_path, capsys):
    from datasets import Dataset

    model = SentenceTransformer(str(tiny_teacher), device="cpu")
    targets = SentenceTransformer(str(other_teacher), device="cpu").encode(sentences)
    before = numpy.linalg.norm(model.encode(sentences) - targets, axis=1).mean()
    rows = Dataset.from_dict({"text": sentences, "label": targets.tolist()})
    times = train_rival(model, rows, tmp_path / "out", steps=20, batch_size=16, learning_rate=3e-3, warmup_steps=2)
    assert numpy.linalg.norm(model.encode(sentences) - targets, axis=1).mean() < before - 0.1
    assert len(times) == 20
    assert capsys.readouterr().out == ""
