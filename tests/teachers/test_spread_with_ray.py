"""Shards on a Ray cluster: a worker or a driver that dies costs its shards alone. The cluster of the first tests is a
stand-in in this process; the slow ones start a real one."""

import json
import sys
from types import SimpleNamespace

import numpy
import pytest
from pyarrow import concat_tables, parquet

from leafkit.errors import InputError, MissingExtraError, OptionError, VectorError
from leafkit.teachers import spread_with_ray as module
from leafkit.teachers.embed import embed
from leafkit.vectors.shards import Shard, check_shards

ROWS = 43


class LocalCluster(SimpleNamespace):
    """What leafkit uses of ray, with workers in this process; ``dies`` are the shards with which a worker dies."""

    class RayError(Exception):
        pass

    def __init__(self, dies=()):
        super().__init__(exceptions=SimpleNamespace(RayError=self.RayError), dies=dies, started=0, most=0, waiting=0)

    def is_initialized(self):
        return False

    def init(self, **options):
        if options["address"] == "nowhere:1":
            raise ConnectionError("refused")

    def shutdown(self):
        pass

    def remote(self, **_options):
        def started(kind):
            def start(*given):
                self.started += 1
                worker = kind(*given)
                return SimpleNamespace(
                    label=SimpleNamespace(remote=worker.label),
                    encode=SimpleNamespace(remote=lambda *task: self._task(worker, task)),
                )

            return SimpleNamespace(remote=start)

        return started

    def _task(self, worker, task):
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        return Answer(self.RayError("The actor died.") if str(task[0]) in self.dies else worker.encode(*task))

    def wait(self, answers, num_returns, timeout=None):
        return answers[-1:], answers[:-1]

    def get(self, answer):
        if not isinstance(answer, Answer):
            return answer
        self.waiting -= 1
        if isinstance(answer.found, Exception):
            raise answer.found
        return answer.found


class Answer:
    def __init__(self, found):
        self.found = found


@pytest.fixture
def texts(tmp_path):
    rows = [{"_id": f"d{i}", "text": f"text {i}", "year": i} for i in range(ROWS - 1)]
    rows += [{"text": "q", "role": "query"}]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def cluster(monkeypatch, hash_teacher):
    """Make a cluster whose workers open hash teachers; the teacher fails on the text ``bad``."""

    def make(bad=None, spaces=("hash",) * 9, **options):
        made, names = LocalCluster(**options), iter(spaces)
        monkeypatch.setitem(sys.modules, "ray", made)
        made.teachers = []

        def opened(_name, _options):
            teacher = hash_teacher(name=next(names))
            encode = teacher.encode
            made.teachers.append(teacher)

            def failing(texts, role):
                if bad in texts:
                    raise RuntimeError("no such token")
                return encode(texts, role)

            teacher.encode = failing
            return teacher

        monkeypatch.setattr(module, "open_with", opened)
        return made

    return make


def spread(texts, out, **options):
    return embed(texts, "some/model", out, **{"ray": "local", "shards": 5, "workers": 2, **options})


def rows_of(folder):
    return concat_tables([parquet.read_table(path) for path in sorted(folder.glob("*.parquet"))])


def test_the_shards_are_those_that_processes_write_alone(texts, tmp_path, cluster, hash_teacher):
    made = cluster()
    folder = spread(texts, tmp_path / "ray")
    for number in range(1, 6):
        embed(texts, hash_teacher(), tmp_path / "alone", shard=f"{number}/5")
    for record in check_shards(folder):
        assert record.shard.file(folder).read_bytes() == record.shard.file(tmp_path / "alone").read_bytes()
    assert made.started == 2
    assert made.most <= 2 * module.QUEUED
    encoded = sum(len(teacher.encoded) for teacher in made.teachers)
    assert encoded == ROWS
    spread(texts, folder)
    assert sum(len(teacher.encoded) for teacher in made.teachers) == encoded


def test_a_text_that_fails_is_named_and_all_other_shards_are_kept(texts, tmp_path, cluster):
    cluster(bad="text 20")
    folder = tmp_path / "ray"
    with pytest.raises(InputError, match=r"1 of 5 shards .*\n  shard 3/5: .* text of row 21 \(id 'd20'.*no such token"):
        spread(texts, folder)
    assert len(list(folder.glob("*.manifest"))) == 4
    made = cluster()
    check_shards(spread(texts, folder))
    assert [len(teacher.encoded) for teacher in made.teachers if teacher.encoded] == [len(Shard(3, 5).rows(ROWS))]


def test_a_shard_that_kills_its_workers_costs_no_other(texts, tmp_path, cluster):
    cluster(dies=["2/5"])
    with pytest.raises(InputError, match=r"shard 2/5: its worker died 4 times \(The actor died\.\)"):
        spread(texts, tmp_path / "ray")
    assert len(list((tmp_path / "ray").glob("*.manifest"))) == 4


def test_vectors_of_another_shape_are_refused(texts, tmp_path, cluster, monkeypatch):
    cluster()
    monkeypatch.setattr(module.Worker, "encode", lambda *_: numpy.ones((3, 8), dtype=numpy.float16))
    with pytest.raises(VectorError, match="the vectors of shard"):
        spread(texts, tmp_path / "ray")
    assert not list((tmp_path / "ray").glob("*.manifest"))


def test_workers_with_another_model_are_refused(texts, tmp_path, cluster):
    cluster(spaces=["one", "other"])
    with pytest.raises(InputError, match="another worker"):
        spread(texts, tmp_path / "ray")


def test_what_cannot_work_is_refused(texts, tmp_path, cluster, hash_teacher, monkeypatch):
    cluster()
    for options, error, message in (
        ({"ray": None}, OptionError, r"shards is an option of a Ray cluster\. Add --ray"),
        ({"shard": "1/5"}, OptionError, "shard and ray exclude each other"),
        ({"ray": "nowhere:1"}, InputError, r"cannot reach a Ray cluster at 'nowhere:1' \(refused\)"),
        ({"cache": tmp_path}, OptionError, "cache does not apply to workers of Ray"),
    ):
        with pytest.raises(error, match=message):
            spread(texts, tmp_path / "ray", **options)
    with pytest.raises(OptionError, match="ray needs the name or the folder of the encoder"):
        embed(texts, hash_teacher(), tmp_path / "ray", ray="local")
    cluster(spaces=[])
    with pytest.raises(InputError, match="a worker cannot open the encoder: StopIteration"):
        spread(texts, tmp_path / "ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"'leafkit\[ray\]'"):
        spread(texts, tmp_path / "ray")
