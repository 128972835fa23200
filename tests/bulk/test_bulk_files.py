"""Bulk files follow the documented rules of each engine, and give back every id, payload and vector bit for bit."""

import hashlib
import json
import logging
import math
import re
import uuid
from xml.etree import ElementTree

import numpy
import pytest

import leafkit
from leafkit.bulk.write import FORMATS
from leafkit.errors import OptionError, OutputError
from leafkit.search.package import open_package
from leafkit.space import Space
from leafkit.vectors.cosine import unit_prefix
from tests.fixtures.packages import SPACE, drawn_vectors, index_vectors, update_vectors

ENGINES = sorted(FORMATS)


@pytest.fixture
def build(tmp_path, payload):
    """A function that builds an index of the forty documents, of which one is removed."""

    def make_index(**options):
        ids = [f"doc/{row} é" for row in range(len(payload))]
        out = tmp_path / "My docs.index"
        index_vectors(ids, drawn_vectors(len(payload), 64), SPACE, out, payload=payload, **options)
        update_vectors(out, remove=["doc/7 é"], compact=False)
        return out

    return make_index


def expected(index):
    """Return the live documents of an index, in order: ids, payloads, and vectors of length 1."""
    package = open_package(index, verify=False)
    with package.files:
        search, documents = package.vector_search(), package.documents()
        rows = search.live_rows()
        vectors = unit_prefix(search.vectors(rows), package.manifest.dim, source="the index")
        return [documents[row] for row in rows.tolist()], vectors


def finite(value):
    """What JSON keeps of a payload: it has no number that is none."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_elastic(folder):
    for path in sorted(folder.glob("bulk-*.ndjson")):
        content = path.read_bytes()
        assert content.endswith(b"\n")
        lines = content.decode().split("\n")[:-1]
        for action, source in zip(lines[::2], lines[1::2], strict=True):
            ((kind, facts),) = json.loads(action).items()
            assert kind == "index"
            document = json.loads(source)
            yield facts["_id"], document, document.pop("embedding"), document.pop("payload", {})


def read_vespa(folder):
    for path in sorted(folder.glob("feed-*.jsonl")):
        for line in path.read_bytes().decode().splitlines():
            operation = json.loads(line)
            assert set(operation) == {"put", "fields"}
            scheme, namespace, kind, empty, name = operation["put"].split(":", 4)
            assert (scheme, namespace, kind, empty) == ("id", "My_docs", "My_docs", "")
            fields = operation["fields"]
            yield name, fields, fields.pop("embedding")["values"], json.loads(fields.pop("payload", "{}"))


def read_weaviate(folder):
    for path in sorted(folder.glob("objects-*.json")):
        body = json.loads(path.read_bytes())
        assert set(body) == {"objects"}
        for one in body["objects"]:
            assert set(one) == {"class", "id", "properties", "vector"}
            assert one["class"] == "My_docs"
            fields = one["properties"]
            name = fields.pop("doc_id")
            assert one["id"] == str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
            yield name, fields, one["vector"], json.loads(fields.pop("payload", "{}"))


READ = {"elasticsearch": read_elastic, "opensearch": read_elastic, "vespa": read_vespa, "weaviate": read_weaviate}


@pytest.mark.parametrize("options", [{}, {"dim": 24, "precision": "int8"}], ids=["float32", "prefix-int8"])
@pytest.mark.parametrize("engine", ENGINES)
def test_ids_payloads_and_vectors_come_back_from_the_files(build, tmp_path, engine, options):
    index = build(**options)
    written = leafkit.write_bulk_files(index, engine, tmp_path / "out")
    documents, vectors = expected(index)
    found = list(READ[engine](written.folder))
    assert written.documents == len(found) == 39
    assert [name for name, *_ in found] == [document.id for document in documents]
    for (_, fields, _, rest), document in zip(found, documents, strict=True):
        assert {**fields, **rest} == finite(dict(document.payload))
    read = numpy.array([vector for _, _, vector, _ in found]).astype(numpy.float32)
    numpy.testing.assert_array_equal(read, vectors)


def kinds_of(engine, folder):
    """Return the fields that the schema declares by name, each as one word for its type."""
    if engine in ("elasticsearch", "opensearch"):
        return json.loads((folder / "mapping.json").read_text())["mappings"]["properties"]
    if engine == "weaviate":
        return {one["name"]: one for one in json.loads((folder / "class.json").read_text())["properties"]}
    schema = (folder / "application" / "schemas" / "My_docs.sd").read_text()
    return dict(re.findall(r"field (\w+) type (\S+) \{", schema))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_field_is_declared_and_holds_values_of_its_type(build, tmp_path, engine):
    """The mappings are strict: an engine refuses a document with a field that it does not know."""
    folder = leafkit.write_bulk_files(build(), engine, tmp_path / "out").folder
    declared = kinds_of(engine, folder)
    types = {
        "year": ("long", "long", "int"),
        "price": ("double", "double", "number"),
        "sold": ("boolean", "bool", "boolean"),
        "category": ("keyword", "string", "text"),
        "tags": ("keyword", "array<string>", "text[]"),
        "text": ("text", "string", "text"),
        "title": ("text", "string", "text"),
    }
    used = set()
    for _, fields, _, _ in READ[engine](folder):
        used |= set(fields)
        assert set(fields) <= set(declared)
        assert all(type(fields[name]) is int for name in {"year"} & set(fields))
        assert all(isinstance(fields[name], list) for name in {"tags"} & set(fields))
    assert used >= set(types)
    for name, (elastic, vespa, weaviate) in types.items():
        if engine == "vespa":
            assert declared[name] == vespa
        elif engine == "weaviate":
            assert declared[name]["dataType"] == [weaviate]
        else:
            assert declared[name]["type"] == elastic
    assert "mixed" not in declared
    assert engine == "vespa" or "_id" not in declared


def test_elasticsearch_gets_a_strict_mapping_of_unit_vectors_and_the_space(build, tmp_path):
    folder = leafkit.write_bulk_files(build(dim=24), "elasticsearch", tmp_path / "out").folder
    mapping = json.loads((folder / "mapping.json").read_text())
    assert set(mapping) == {"mappings"}
    mappings = mapping["mappings"]
    assert mappings["dynamic"] == "strict"
    assert mappings["properties"]["payload"] == {"type": "object", "enabled": False}
    assert mappings["properties"]["embedding"] == {
        "type": "dense_vector",
        "dims": 24,
        "index": True,
        "similarity": "dot_product",
        "index_options": {"type": "hnsw", "m": 16, "ef_construction": 100},
    }
    label = mappings["_meta"]["leafkit"]
    assert (Space.from_json(label["space"]), label["dim"]) == (SPACE, 24)
    # Elasticsearch refuses a vector whose squared length, in float32, differs from 1 by more than 1e-4.
    vectors = numpy.array([vector for _, _, vector, _ in read_elastic(folder)], dtype=numpy.float32)
    assert abs((vectors**2).sum(axis=1) - 1).max() < 1e-5


def test_opensearch_gets_a_knn_index_of_inner_products(build, tmp_path):
    folder = leafkit.write_bulk_files(build(), "opensearch", tmp_path / "out").folder
    mapping = json.loads((folder / "mapping.json").read_text())
    assert mapping["settings"] == {"index": {"knn": True}}
    field = mapping["mappings"]["properties"]["embedding"]
    assert (field["type"], field["dimension"]) == ("knn_vector", 64)
    assert {name: field["method"][name] for name in ("name", "engine", "space_type")} == {
        "name": "hnsw",
        "engine": "faiss",
        "space_type": "innerproduct",
    }
    assert mapping["mappings"]["_meta"]["leafkit"]["space"]["id"] == SPACE.id


def test_weaviate_gets_a_class_without_a_vectorizer(build, tmp_path):
    folder = leafkit.write_bulk_files(build(), "weaviate", tmp_path / "out").folder
    body = json.loads((folder / "class.json").read_text())
    assert body["class"] == "My_docs"
    assert (body["vectorizer"], body["vectorIndexConfig"]) == ("none", {"distance": "dot"})
    assert Space.from_json(json.loads(body["description"])["leafkit"]["space"]) == SPACE
    names = [one["name"] for one in body["properties"]]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[A-Za-z_]\w*", name) for name in names)


def test_vespa_gets_an_application_whose_ranking_is_the_cosine(build, tmp_path):
    folder = leafkit.write_bulk_files(build(), "vespa", tmp_path / "out").folder
    services = ElementTree.parse(folder / "application" / "services.xml").getroot()
    assert [one.attrib["type"] for one in services.iter("document")] == ["My_docs"]
    label, _, schema = (folder / "application" / "schemas" / "My_docs.sd").read_text().partition("\n")
    assert Space.from_json(json.loads(label.removeprefix("# "))["leafkit"]["space"]) == SPACE
    assert schema.count("{") == schema.count("}")
    assert "field embedding type tensor<float>(x[64]) {" in schema
    assert "query(q) tensor<float>(x[64])" in schema
    assert "distance-metric: prenormalized-angular" in schema  # 1 - cosine of unit vectors
    assert "expression: 1 - distance(field, embedding)" in schema
    feed = "".join(path.read_text() for path in folder.glob("feed-*.jsonl"))
    texts = [json.loads(line)["fields"].get("text", "") for line in feed.splitlines()]
    assert not re.search("[\x00-\x08\ud800-\udfff]", "".join(texts))


@pytest.mark.parametrize("engine", ENGINES)
def test_files_stay_below_the_limit_and_hold_the_same_documents(build, tmp_path, engine):
    index = build()
    whole = leafkit.write_bulk_files(index, engine, tmp_path / "whole")
    split = leafkit.write_bulk_files(index, engine, tmp_path / "split", megabytes=0.005)
    assert len(whole.files) == 1 < len(split.files)
    assert max(split.files.values()) <= 5000
    assert list(READ[engine](whole.folder)) == list(READ[engine](split.folder))
    record = json.loads((split.folder / "leafkit-bulk.json").read_text())
    assert record["space"]["id"] == SPACE.id
    for name, facts in record["files"].items():
        content = (split.folder / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (facts["bytes"], facts["sha256"])


def test_a_document_above_the_limit_has_a_file_of_its_own(build, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="leafkit"):
        written = leafkit.write_bulk_files(build(), "weaviate", tmp_path / "out", megabytes=0.0001)
    assert len(written.files) == written.documents == len(list(read_weaviate(written.folder)))
    assert "objects-000001.json has one document that is larger than a file may be" in caplog.text


@pytest.mark.parametrize("engine", ENGINES)
def test_the_program_prints_the_search_that_finds_what_leafkit_finds(
    exported, tiny_teacher, sentences, tmp_path, capsys, monkeypatch, engine
):
    (tmp_path / "docs.txt").write_text("\n".join(sentences[:50]))
    index = leafkit.build_index(tmp_path / "docs.txt", tiny_teacher, tmp_path / "My docs.index", student=exported)
    folder = leafkit.write_bulk_files(index, engine, tmp_path / "out").folder
    monkeypatch.setattr("sys.argv", ["query.py", sentences[60], "5"])
    program = (folder / "query.py").read_text()
    exec(compile(program, "query.py", "exec"), {})
    body = json.loads(capsys.readouterr().out)
    query, hits = {
        "elasticsearch": lambda: (body["knn"]["query_vector"], body["knn"]["k"]),
        "opensearch": lambda: (body["query"]["knn"]["embedding"]["vector"], body["size"]),
        "vespa": lambda: (body["input.query(q)"], body["hits"]),
        "weaviate": lambda: (
            json.loads(re.search(r"vector: (\[.*?\])", body["query"])[1]),
            int(re.search(r"limit: (\d+)", body["query"])[1]),
        ),
    }[engine]()
    assert hits == 5
    if engine == "vespa":
        assert body["yql"] == "select * from My_docs where {targetHits:5}nearestNeighbor(embedding,q)"
    if engine == "weaviate":
        assert body["query"].startswith("{ Get { My_docs(nearVector: {vector: [")
        assert body["query"].endswith(", limit: 5) { doc_id text title payload _additional { distance } } } }")
    found = list(READ[engine](folder))
    scores = numpy.array([vector for _, _, vector, _ in found]) @ numpy.array(query)
    best = numpy.argsort(-scores)[:5]
    expected_hits = leafkit.Searcher.open(index).search(sentences[60], k=5)
    assert [found[row][0] for row in best] == expected_hits.ids
    numpy.testing.assert_allclose(scores[best], expected_hits.scores, atol=1e-6)
    with pytest.raises(SystemExit, match=r"writes the space \w+, but the vectors in \w+ have 0123"):
        exec(compile(re.sub(r"SPACE, DIM = '\w+'", "SPACE, DIM = '0123'", program), "query.py", "exec"), {})


@pytest.mark.parametrize(
    ("engine", "name", "words"),
    [
        ("elasticsearch", "Docs", "lower-case letters"),
        ("vespa", "my-docs", "letters, digits and underscores"),
        ("weaviate", "docs", "a capital letter"),
    ],
)
def test_a_name_that_the_engine_refuses_is_refused_before_anything_is_written(make, tmp_path, engine, name, words):
    with pytest.raises(OptionError, match=f"name is '{name}'.* expects {words}"):
        leafkit.write_bulk_files(make(rows=5), engine, tmp_path / "out", name=name)
    assert not (tmp_path / "out").exists()


def test_what_an_engine_cannot_take_leaves_nothing_behind(make, tmp_path, monkeypatch):
    index = make(rows=5)
    with pytest.raises(OptionError, match="engine is 'vespaa'; did you mean 'vespa'"):
        leafkit.write_bulk_files(index, "vespaa", tmp_path / "out")
    long = index_vectors(["a", "b" * 513], drawn_vectors(2, 64), SPACE, tmp_path / "long.index")
    with pytest.raises(OptionError, match="has 513 bytes, but Elasticsearch takes 1 to 512"):
        leafkit.write_bulk_files(long, "elasticsearch", tmp_path / "out")
    monkeypatch.setattr(FORMATS["elasticsearch"], "most_components", 32)
    with pytest.raises(OptionError, match=r"64 components.*at most 32.*--dim"):
        leafkit.write_bulk_files(index, "elasticsearch", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"docs.index", "long.index"}


def test_only_bulk_files_are_overwritten(make, tmp_path):
    index, out = make(rows=5), tmp_path / "out"
    leafkit.write_bulk_files(index, "vespa", out)
    with pytest.raises(OutputError, match="already exists"):
        leafkit.write_bulk_files(index, "weaviate", out)
    leafkit.write_bulk_files(index, "weaviate", out, overwrite=True)
    assert not list(out.glob("feed-*"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(OutputError, match="was not written by leafkit"):
        leafkit.write_bulk_files(index, "vespa", tmp_path / "mine", overwrite=True)


def test_a_column_that_cannot_be_a_field_is_named_and_kept(build, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="leafkit"):
        folder = leafkit.write_bulk_files(build(), "vespa", tmp_path / "out").folder
    assert "Vespa does not accept the name of the column 'we.ird name'" in caplog.text
    assert "`we.ird name`" in (folder / "README.md").read_text()


def test_weaviate_which_writes_a_first_capital_small_gets_no_such_field():
    # Otherwise "Year" would be in conflict with "year", and a search for the field "Year" would find no such field.
    form = FORMATS["weaviate"](name="Docs", space=SPACE, dim=64)
    assert [name for name in ("year", "_year", "Year", "yEAR") if form.accepts(name)] == ["year", "_year", "yEAR"]
