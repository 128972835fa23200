"""The scripts of the page in Node.js, against numpy and tokenizers."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib import resources

import numpy
import pytest

from leafkit.site.documents import encode
from leafkit.site.token_table import TokenTable

SCRIPT = """
import { readFileSync } from "node:fs";
import { cosine, unitPrefix, Vectors } from "./page/ranking.js";
import { tokenIds, TokenTable } from "./page/student.js";
const given = JSON.parse(readFileSync(0, "utf-8"));
const file = (name) => { const bytes = readFileSync(name); return new Uint8Array(bytes).buffer; };
const tokenizer = {
  encode: (text, { add_special_tokens = true }) => {
    const ids = text.split(" ").map(Number);
    return { ids: add_special_tokens ? [101, ...ids, 102] : ids };
  },
};
const query = Float32Array.from(given.query);
const vectors = new Vectors(new Int16Array(file("vectors.bin")), given.dim);
const table = new TokenTable(given.table, file("table.bin"));
console.log(JSON.stringify({
  nearest: given.ks.map((k) => vectors.nearest(unitPrefix(query, given.dim), k)),
  cosine: cosine(query, query.map((x) => 2 * x)),
  ids: given.texts.map(([text, limit, side]) => tokenIds(tokenizer, text, { limit, side }).ids),
  table: given.tokens.map((ids) => Array.from(table.vector(ids))),
}));
"""
TEXTS = [
    ["1 2 3", None, "right"],
    ["1 2 3", 5, "right"],
    ["1 2 3", 4, "right"],
    ["1 2 3", 4, "left"],
    ["102 101 5 6", 3, "right"],
    ["1 2", 1, "right"],
]


@pytest.fixture(scope="module")
def answers(drawn, tmp_path_factory):
    """What the scripts answer, and the table that they were given; run once, because Node.js starts slowly."""
    node = shutil.which("node") or pytest.skip("node is not installed")
    folder = tmp_path_factory.mktemp("scripts")
    shutil.copytree(str(resources.files("leafkit.site") / "page"), folder / "page")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "test.js").write_text(SCRIPT)
    documents = numpy.concatenate([drawn[:, :24], drawn[:1, :24]])  # the last equals the first
    encode(documents, "int16").tofile(folder / "vectors.bin")
    random = numpy.random.default_rng(1)
    table = TokenTable(
        codes=random.integers(-127, 128, (50, 7)).astype(numpy.int8),
        steps=random.random(50, dtype=numpy.float32),
        weight=random.standard_normal((5, 7), dtype=numpy.float32),
        bias=random.standard_normal(5, dtype=numpy.float32),
    )
    table.save(folder / "table.bin")
    given = {"query": drawn[0].tolist(), "dim": 24, "ks": [1, 5, 100], "table": table.facts, "texts": TEXTS}
    given["tokens"] = [[3], [7, 7, 49, 0], []]
    done = subprocess.run([node, "test.js"], cwd=folder, input=json.dumps(given), capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout), table, documents


def test_the_nearest_rows_are_those_of_numpy_with_ties_by_row(answers, drawn):
    found, _, documents = answers
    units = documents / numpy.linalg.norm(documents, axis=1, keepdims=True)
    query = drawn[0, :24] / numpy.linalg.norm(drawn[0, :24])
    scores = units @ query
    order = numpy.lexsort((numpy.arange(41), -scores.round(6)))
    for k, nearest in zip((1, 5, 41), found["nearest"]):
        assert nearest["rows"] == order[:k].tolist()
        assert nearest["scores"] == pytest.approx(scores[order[:k]], abs=2e-5)
    assert order[:2].tolist() == [0, 40]
    assert found["cosine"] == pytest.approx(1)


def test_long_texts_keep_their_special_tokens(answers):
    ids = [[101, 1, 2, 3, 102]] * 2 + [[101, 1, 2, 102], [101, 2, 3, 102], [101, 102, 102], [101, 102]]
    assert answers[0]["ids"] == ids


def test_a_token_table_is_a_mean_and_a_head(answers):
    found, table, _ = answers
    rows = table.codes * table.steps[:, None]
    for ids, vector in zip(([3], [7, 7, 49, 0]), found["table"]):
        assert vector == pytest.approx(table.weight @ rows[ids].mean(axis=0) + table.bias, rel=1e-4)
    assert found["table"][2] == pytest.approx(table.bias)
