import json

import pytest


@pytest.fixture(scope="session")
def table(tmp_path_factory, tiny_teacher, beir_folder, sentences):
    """A table of the tiny teacher: 120 texts, 40 held out, and a collection."""
    folder = tmp_path_factory.mktemp("table")
    for name, part in (("train", sentences[:120]), ("valid", sentences[120:160])):
        rows = [{"text": text, "role": ("query", "document")[i % 2]} for i, text in enumerate(part)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "table.toml").write_text(
        f"""
        seeds = [0, 1]
        [texts]
        files = ["{folder}/train.jsonl"]
        valid = ["{folder}/valid.jsonl"]
        [base]
        teacher = "{tiny_teacher}"
        student = "teacher:layers=2"
        learning_rate = 1e-3
        batch_size = 8
        epochs = 3
        precision = "float32"
        [measure]
        data = ["{beir_folder}"]
        split = "test"
        modes = ["asymmetric", "standard"]
        [variants.twin]
        [variants.undistilled]
        epochs = 0
        head = "random"
        [variants.as-long]
        batch_size = 16
        seconds = "base"
        [variants.fed]
        feeds = ["curriculum:every=2,initial=0.1"]
        [variants.rival]
        kind = "sentence-transformers"
        [variants.wild]
        learning_rate = 30.0
        """
    )
    return folder / "table.toml"
