"""Recipes of the tiny teacher and tiny folders of every task, named as the real ones are."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.fixture(scope="session")
def data_root(tmp_path_factory, beir_folder, sentences):
    """A folder with a collection, rated pairs and labelled texts."""
    root = tmp_path_factory.mktemp("bench")
    shutil.copytree(beir_folder, root / "tldr-commands")
    shutil.copy(root / "tldr-commands" / "qrels" / "test.tsv", root / "tldr-commands" / "qrels" / "dev.tsv")
    for split, part in (("train", sentences[:80]), ("test", sentences[80:120])):
        pairs = [
            {"sentence1": one, "sentence2": other, "score": number % 6}
            for number, (one, other) in enumerate(zip(part, part[1:] + part[:1], strict=True))
        ]
        labelled = [{"text": text, "label": ("short", "long")[len(text) > 40]} for text in part]
        for folder, rows in (("stsb-en", pairs), ("banking77", labelled)):
            (root / folder).mkdir(exist_ok=True)
            (root / folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


@pytest.fixture(scope="session")
def recipes(tmp_path_factory, tiny_teacher, tiny_texts):
    """Three recipes: the start alone, a copy of it under another name, and one whose head is left to chance."""
    folder = tmp_path_factory.mktemp("recipes")
    text = f'texts = ["{tiny_texts}"]\nteacher = "{tiny_teacher}"\nstudent = "teacher:layers=2"\nepochs = 0\n'
    (folder / "base.toml").write_text(text)
    (folder / "twin.toml").write_text(text)
    (folder / "chance.toml").write_text(text + 'head = "random"\n')
    return folder
