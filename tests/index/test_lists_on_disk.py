"""Lists that are merged on disk are the lists that FAISS fills in memory, byte for byte."""

import numpy
import pytest

import leafkit
from leafkit.index import fill, lists_on_disk, next_generation
from leafkit.index.fill import write_filled
from leafkit.index.lists_on_disk import can_fill_on_disk
from leafkit.search.faiss_index import FaissIndex
from leafkit.search.plan import plan_index
from tests.fixtures.packages import SPACE, drawn_vectors, index_vectors, update_vectors

VECTORS = drawn_vectors(1000, SPACE.dim)


@pytest.fixture
def small_runs(monkeypatch):
    for module in (fill, lists_on_disk, next_generation):
        monkeypatch.setattr(module, "RUN_ROWS", 300)


def written(folder, plan, vectors=VECTORS):
    folder.mkdir()
    filled = write_filled(folder / "index", vectors, plan, spool=folder / "lists", rescore=None)
    assert [path.name for path in folder.iterdir()] == ["index"]
    return (folder / "index").read_bytes(), filled


@pytest.mark.parametrize("factory", ["IVF16,Flat", "IVF16,SQ8", "IVF16,RaBitQ", "PCA32,IVF16,SQfp16"])
def test_the_file_is_the_one_that_is_filled_in_memory(factory, tmp_path, small_runs, monkeypatch):
    plan = plan_index(len(VECTORS), "float32", factory)
    merged, on_disk = written(tmp_path / "merged", plan)
    monkeypatch.setattr(fill, "RUN_ROWS", len(VECTORS))
    whole, in_memory = written(tmp_path / "whole", plan)
    assert merged == whole
    assert (on_disk.rescore, on_disk.loss) == (in_memory.rescore, in_memory.loss)


def test_few_filled_lists_are_written_as_faiss_writes_them(tmp_path, small_runs, monkeypatch):
    plan = plan_index(0, "float32", "IVF16,Flat")
    two = numpy.repeat(VECTORS[:2], 250, axis=0)

    def trained(*_):
        index = FaissIndex.empty(plan, SPACE.dim)
        index.train(VECTORS)
        return index

    monkeypatch.setattr(fill, "_trained", trained)
    merged, _ = written(tmp_path / "merged", plan, two)
    monkeypatch.setattr(fill, "RUN_ROWS", len(two))
    assert merged == written(tmp_path / "whole", plan, two)[0]
    assert b"sprs" in merged


@pytest.mark.parametrize("factory", ["HNSW8,Flat", "IVF16,RaBitQfs", "IVF16,SQ4,Refine(SQ8)", "Flat"])
def test_other_indexes_are_filled_in_memory(factory, tmp_path, small_runs):
    index = FaissIndex.empty(plan_index(0, "float32", factory), SPACE.dim)
    assert not can_fill_on_disk(index)
    written(tmp_path / "whole", plan_index(len(VECTORS), "float32", factory))


def test_a_package_that_is_filled_on_disk_finds_what_another_finds(tmp_path, small_runs, monkeypatch):
    ids = [f"doc {row}" for row in range(len(VECTORS))]
    merged = index_vectors(ids, VECTORS, SPACE, tmp_path / "merged", factory="IVF16", precision="int8")
    monkeypatch.setattr(fill, "RUN_ROWS", len(VECTORS))
    whole = index_vectors(ids, VECTORS, SPACE, tmp_path / "whole", factory="IVF16", precision="int8")
    hits = [leafkit.Searcher.open(index, verify=True).search(VECTORS[:50], k=5) for index in (merged, whole)]
    assert [one.ids for one in hits[0]] == [one.ids for one in hits[1]]
    assert sorted(path.name for path in merged.iterdir()) == sorted(path.name for path in whole.iterdir())


@pytest.mark.parametrize("factory", ["PCA32,IVF16,SQ8", "HNSW8,Flat"])
@pytest.mark.parametrize("compact", [False, True])
def test_an_update_that_merges_on_disk_is_the_update_in_memory(factory, compact, tmp_path, small_runs, monkeypatch):
    ids, searches = [f"doc {row}" for row in range(len(VECTORS))], []
    for name, rows in (("merged", 300), ("whole", len(VECTORS))):
        for module in (fill, lists_on_disk, next_generation):
            monkeypatch.setattr(module, "RUN_ROWS", rows)
        index = index_vectors(ids[:600], VECTORS[:600], SPACE, tmp_path / name, factory=factory)
        update_vectors(index, ids=ids[600:], vectors=VECTORS[600:], remove=ids[100:300], compact=compact)
        searches.append(leafkit.Searcher.open(index, verify=True).search(VECTORS[::20], k=5))
        assert not list(index.glob("*.raw"))
    assert [hits.ids for hits in searches[0]] == [hits.ids for hits in searches[1]]
    assert {len(hits.ids) for hits in searches[0]} == {5}
