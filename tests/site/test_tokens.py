"""The tokenizer of the page in Node.js against the one of Python, on the tokenizer of the student that ships."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from leafkit.search.query_encoder import QueryEncoder
from leafkit.shipped import resolve_student
from leafkit.site.npm import TOKENIZERS, copy_package
from tests.site.conftest import real_npm

pytestmark = pytest.mark.slow

SCRIPT = """
import { readFileSync } from "node:fs";
import { tokenIds } from "./page/student.js";
import { Tokenizer } from "./vendor/tokenizers.js";
const { tokenizer, texts, limit } = JSON.parse(readFileSync(0, "utf-8"));
const opened = new Tokenizer(JSON.parse(readFileSync(tokenizer)), {});
console.log(JSON.stringify(texts.map((text) => tokenIds(opened, text, { limit, side: "right" }).ids)));
"""
ODD = [
    "Üñîçødé ﬁ ½ ² İstanbul ẞ ß ς",
    "数据库 と カタカナ한국어",
    "a\u200bb\u00adc\ufeffd",
    "[CLS] hi [SEP] [MASK] [UNK]",
    "don't — “quotes” … ©®™",
    "😀👩‍👩‍👧‍👦 🇩🇪",
    "e\u0301\u0327 cafe\u0301",
    "x" * 150 + " y",
    "\t\n\r\x0b\x0c \x85 \u2028 z",
    "\x00\x01\x7f ctrl",
    "नमस्ते दुनिया ไทย العربية",
    "##ing ##foo",
    "1,234.56e-7 v1.2.3 C++ C#",
    "\u3000wide　space",
    "ꜳ ǆ ŉ ﷺ",
    "tar --exclude='*.o' -czf a.tgz . " * 60,
    "\U0001d49c\U0001d4c1 \U0001d7d9",
    "\ue000 private",
    "",
    " ",
]
BLOCKS = [(32, 127), (160, 0x250), (0x3B1, 0x600), (0x2000, 0x2070), (0x3000, 0x3100), (0x4E00, 0x4F00), (32, 33)]


def test_texts_become_the_same_tokens(tmp_path):
    """Known to differ: a capital sigma at the end of a word, and Chinese characters beyond U+FFFF, each one token."""
    node = shutil.which("node") or pytest.skip("node is not installed")
    drawn = random.Random(0)
    texts = ["".join(chr(drawn.randrange(*drawn.choice(BLOCKS))) for _ in range(40)) for _ in range(300)]
    with gzip.open(str(resources.files("leafkit.models") / "quickstart" / "corpus.jsonl.gz"), "rt") as file:
        texts += [json.loads(line)["text"] for line in file][:300]
    shutil.copytree(str(resources.files("leafkit.site") / "page"), tmp_path / "page")
    with real_npm() as cache:
        copy_package(TOKENIZERS, cache, tmp_path / "vendor")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "test.js").write_text(SCRIPT)
    student = resolve_student("bge-small-leaf")
    texts = [*ODD, *texts]
    given = {"tokenizer": str(Path(student / "tokenizer.json").resolve()), "texts": texts, "limit": 512}
    done = subprocess.run([node, "test.js"], cwd=tmp_path, input=json.dumps(given), capture_output=True, text=True)
    assert not done.returncode, done.stderr
    encoder = QueryEncoder.open(student)
    for text, ids in zip(texts, json.loads(done.stdout), strict=True):
        assert ids == encoder._tokenizer.encode(text).ids, text
