"""Benchmarks do equal work on both sides and report true facts. No times are tested."""

import json
import statistics
import sys

import numpy
import pytest

from eval.bench import __main__ as bench
from eval.bench import encode, live, memory, peak, query, rival_search, start, train, workload
from eval.bench.figure import Figure, Requirement, Spread, table
from eval.bench.side import Side, environment, take_turns
from leafkit.errors import LeafkitError, OptionError

DOCUMENTS, DISTINCT = 240, 200
STUDENTS = ("teacher:layers=2", "static:dim=32")


@pytest.fixture(scope="session")
def made(tmp_path_factory, tiny_teacher, beir_folder):
    """Documents, queries, a two-layer student and a token table of the tiny teacher, and their indexes."""
    work = tmp_path_factory.mktemp("bench")
    queries = [f"query:{beir_folder / 'queries.jsonl'}"]
    found = workload.collect(work, str(tiny_teacher), str(beir_folder), queries, documents=DOCUMENTS, students=STUDENTS)
    next(workload.prepare(str(work), str(tiny_teacher), STUDENTS, str(found.documents_file), str(found.queries_file)))
    return found


def search_places(made):
    return {
        "model": str(made.student(0)),
        "vectors": str(made.vectors_file),
        "documents": str(made.documents_file),
    }


def test_a_ratio_is_the_same_in_seconds_and_in_rates():
    seconds = Figure(name="x", unit="s", ours=Spread((1.0, 2.0, 4.0)), theirs=Spread((6.0,)))
    rates = Figure(name="x", unit="1/s", ours=Spread((1.0, 0.5, 0.25)), theirs=Spread((1 / 6,)), more_is_better=True)
    assert seconds.ratio == pytest.approx(rates.ratio) == pytest.approx(3.0)


def test_a_missed_requirement_is_reported_with_the_value():
    figure = Figure(
        name="x",
        unit="s",
        ours=Spread((2.0,)),
        theirs=Spread((6.0,)),
        least_ratio=4.0,
        requirements=(Requirement("MB", 9, 9),),
    )
    assert figure.verdict() == "MISSED: ratio >= 4 (got 3)"
    assert "MISSED" in table([figure])
    assert [promise["kept"] for promise in figure.to_json()["promises"]] == [False, True]


def test_a_figure_without_requirements_has_no_verdict_and_without_a_rival_no_ratio():
    figure = Figure(name="x", unit="MB", ours=Spread((2.0,)))
    assert figure.verdict() == ""
    assert figure.ratio is None
    assert figure.to_json()["theirs"] is None


def test_an_upper_bound_is_met_from_below():
    assert Requirement("MB", 249.0, 250.0, at_most=True).met
    assert not Requirement("MB", 251.0, 250.0, at_most=True).met


def test_the_least_cosine_ignores_length_and_finds_the_worst_row():
    vectors = numpy.random.default_rng(0).normal(size=(5, 8)).astype(numpy.float32)
    assert encode.least_cosine(3 * vectors, vectors) == pytest.approx(1.0)
    turned = vectors.copy()
    turned[3] = -turned[3]
    assert encode.least_cosine(turned, vectors) == pytest.approx(-1.0)


def test_shared_hits_count_whatever_their_order():
    assert query.shared([["a", "b"], ["c", "d"]], [["b", "a"], ["c", "x"]]) == 0.75


SIDES = """
import sys
def counting(start):
    print("a library that talks")
    yield {"ready": True}
    for number in range(start, start + 9):
        print("more talk")
        yield {"number": number}
def failing():
    raise ValueError("no such luck")
    yield
"""


@pytest.fixture
def sides(tmp_path, monkeypatch):
    (tmp_path / "talking_sides.py").write_text(SIDES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_sides_take_turns_and_their_prints_do_not_disturb(sides):
    with (
        Side("talking_sides:counting", {"start": 10}) as one,
        Side("talking_sides:counting", {"start": 20}, threads=1) as two,
    ):
        assert one.facts == {"ready": True}
        results = take_turns({"one": one, "two": two}, rounds=3)
    assert [result["number"] for result in results["one"]] == [10, 11, 12]
    assert [result["number"] for result in results["two"]] == [20, 21, 22]


def test_a_failing_side_raises_an_error_with_its_stderr(sides):
    with pytest.raises(LeafkitError, match=r"talking_sides:failing stopped with exit code 1(.|\n)*no such luck"):
        Side("talking_sides:failing", {})


def test_a_measured_process_is_offline_and_has_limited_threads():
    assert environment(1)["OMP_NUM_THREADS"] == "1"
    assert environment()["HF_HUB_OFFLINE"] == "1"


def test_repeated_documents_have_new_ids_and_are_counted(made):
    rows = workload.read_documents(made.documents_file)
    assert len(rows) == len({row["_id"] for row in rows}) == made.documents == DOCUMENTS
    assert len({(row["title"], row["text"]) for row in rows}) == made.distinct == DISTINCT


def test_the_same_documents_are_drawn_every_time(tmp_path, beir_folder, tiny_teacher):
    drawn = []
    for folder in ("one", "two"):
        found = workload.collect(
            tmp_path / folder,
            str(tiny_teacher),
            str(beir_folder),
            [f"query:{beir_folder / 'queries.jsonl'}"],
            documents=50,
            students=STUDENTS,
        )
        drawn.append(workload.read_documents(found.documents_file))
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 50


def test_documents_do_not_count_as_queries(tmp_path, beir_folder, tiny_teacher):
    with pytest.raises(OptionError, match="contains no query"):
        workload.collect(
            tmp_path,
            str(tiny_teacher),
            str(beir_folder),
            [f"document:{beir_folder / 'queries.jsonl'}"],
            documents=9,
            students=STUDENTS,
        )


def test_both_sides_encode_the_same_documents_to_the_same_vectors(made, tmp_path):
    common = {"documents": str(made.documents_file), "texts": 30}
    ours, theirs = str(tmp_path / "ours.npy"), str(tmp_path / "theirs.npy")
    rounds = encode.ours(**common, teacher=made.teacher, compute="float32", out=ours)
    assert next(rounds)["computes in"] == "float32"
    assert next(rounds)["rate"] > 0
    rounds = encode.theirs(**common, model=made.model, out=theirs)
    assert next(rounds)["tokens"] == 64
    assert next(rounds)["rate"] > 0
    vectors = numpy.load(ours)
    assert vectors.shape == (30, 32)
    assert encode.least_cosine(vectors, numpy.load(theirs)) > 1 - 1e-6


def test_both_sides_answer_the_same_queries_from_the_same_vectors(made):
    common = {"queries": str(made.queries_file), "count": 12}
    mine = query.ours(index=str(made.index(0)), **common)
    other = query.theirs(**search_places(made), **common)
    ours, theirs = next(mine), next(other)
    assert (ours["precision"], theirs["precision"]) == ("int8", "float32")
    assert all(len(hits) == query.K for hits in ours["hits"] + theirs["hits"])
    assert query.shared(ours["hits"], theirs["hits"]) > 0.5
    for result in (next(mine), next(other)):
        assert 0 < result["median"] <= result["slow"]


def test_the_vectors_of_the_rival_are_those_of_the_index(made):
    from leafkit.search.searcher import Searcher

    held = numpy.load(made.vectors_file)
    assert held.shape == (DOCUMENTS, 32)
    hits = Searcher.open(made.index(1)).search(held[7], k=3)
    assert hits.scores[0] == pytest.approx(1.0, abs=1e-5)
    assert workload.read_documents(made.documents_file)[7]["_id"] in hits.ids


def test_a_search_host_is_measured_in_a_process_of_its_own(made):
    common = {"queries": str(made.queries_file), "count": 5}
    with Side("eval.bench.memory:ours", {**common, "index": str(made.index(0))}, threads=1) as side:
        peak = side.round()["peak"]
    assert 20 < side.facts["opened"] <= peak < 2000
    rounds = memory.theirs(**search_places(made), **common)
    next(rounds)
    # This process holds torch.
    assert next(rounds)["peak"] > peak


def test_the_script_of_the_rival_prints_ten_hits(made, monkeypatch, capsys):
    text = workload.read_queries(made.queries_file, 1)[0]
    monkeypatch.setattr(sys, "argv", ["rival_search.py", *search_places(made).values(), text])
    rival_search.main()
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(1, 11))
    scores = [float(line.split()[1]) for line in lines]
    assert scores == sorted(scores, reverse=True)


def test_a_whole_process_is_timed_and_a_failing_one_is_not(made):
    command = [*start.leafkit(), "search", str(made.index(0))]
    assert start.seconds([*command, "copy a file"]) > 0
    with pytest.raises(LeafkitError, match="exit code 1"):
        start.seconds(command)


def test_both_trainers_start_from_one_student_and_see_the_same_texts(made, tmp_path):
    folder, texts = str(tmp_path / "train"), train.BATCH * (train.WARM + 2) + train.HELD_OUT
    common = {"queries": str(made.queries_file), "teacher": made.teacher}
    next(train.prepare(folder, texts=texts, student="teacher:layers=2", **common))
    ours, theirs = train.ours(folder, "float32"), train.theirs(folder, "float32")
    assert next(ours)["precision"] == next(theirs)["precision"] == "float32"
    for _ in range(2):
        assert next(ours)["rate"] > 0
    assert next(theirs)["rate"] > 0
    assert len(json.loads((tmp_path / "train" / "texts.json").read_bytes())) == texts - train.HELD_OUT


def test_the_first_steps_do_not_count():
    times = {step: 100.0 * step for step in range(1, train.WARM + 1)}
    times |= {train.WARM + step: times[train.WARM] + step for step in (1, 2, 3)}
    assert train._rate(times, train.BATCH) == train.BATCH


def test_a_rate_needs_only_two_timed_steps():
    assert train._rate({50: 7.0, 70: 9.0}, batch_size=256) == 2560


def test_flops_are_those_of_the_layers_by_hand(made):
    from leafkit.students.encoder import open_student

    student = open_student(made.student(0), device="cpu").student
    config, tokens = student.transformer.config, 9
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    layer = 2 * tokens * (4 * width * width + 2 * width * inner) + 4 * tokens * tokens * width
    head = 2 * width * 32
    features = student.preprocess(["a"])
    features = {name: value[:, :1].repeat(1, tokens) for name, value in features.items() if hasattr(value, "repeat")}
    # The backward pass has two products for each of the forward pass: of the weights and of the inputs.
    assert peak.flops_of(student, features) == 3 * (layers * layer + head)


@pytest.mark.slow
def test_training_is_measured_as_a_share_of_bare_matrix_products(made, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (figure,) = peak.measure(made, rounds=1, steps=2, batch_size=8, device="cpu")
    assert 0 < figure.ours.median < 100
    facts = figure.facts
    reached = facts["texts/s"] * facts["GFLOPs a text"] / 1000 / facts["peak TFLOP/s"]
    assert figure.ours.median == pytest.approx(100 * reached)
    assert facts["in"] in ("bfloat16", "float32")


@pytest.mark.parametrize("asked", [True, False])
def test_a_step_is_timed_with_and_without_a_live_teacher(asked, tiny_teacher, monkeypatch):
    from leafkit.training.live import LiveTeacher

    calls, states = [], LiveTeacher.token_states
    monkeypatch.setattr(LiveTeacher, "token_states", lambda *given: calls.append(1) or states(*given))
    steps = live.steps(str(tiny_teacher), "teacher:layers=2", 128, asked)
    assert next(steps)["tokens"] == 64  # as many as the tiny model reads
    result = next(steps)
    assert result["seconds"] > 0
    assert result["peak"] > 0
    assert len(calls) == (2 * live.STEPS if asked else 0)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--only", "encode,sleep"], "unknown measurement sleep; expected one or more of encode,query"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_a_bad_argument_is_one_message(arguments, problem, beir_folder, tiny_teacher, capsys):
    with pytest.raises(SystemExit, match="1"):
        bench.main(["--teacher", str(tiny_teacher), "--data", str(beir_folder), *arguments])
    said = capsys.readouterr()
    assert problem in said.err
    assert said.out == ""


@pytest.mark.parametrize("value", ["0", "-1", "x"])
def test_counts_are_whole_and_positive(value, capsys):
    with pytest.raises(SystemExit):
        bench.main(["--teacher", "t", "--data", "d", "--rounds", value])
    assert "expected a whole number of at least 1" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a score of processes that import torch, on a machine that may be busy
def test_a_whole_run_reports_every_measurement_and_the_machine(tiny_teacher, beir_folder, tmp_path, capsys):
    small = "--documents 240 --texts 20 --query-count 5 --steps 2 --rounds 2 --students teacher:layers=2 --json".split()
    bench.main(["--teacher", str(tiny_teacher), "--data", str(beir_folder), "--work", str(tmp_path / "w"), *small])
    report = json.loads(capsys.readouterr().out)
    names = [figure["name"] for figure in report["figures"]]
    for part in (
        "encode documents",
        "query, teacher:layers=2",
        "process start",
        "memory",
        "train",
        "of the machine",
        "live",
    ):
        assert any(part in name for name in names), part
    for figure in report["figures"]:
        assert len((figure["theirs"] or figure["ours"])["values"]) == 2
        assert figure["ours"]["median"] == statistics.median(figure["ours"]["values"])
    assert report["machine"]["packages"]["sentence-transformers"]
    assert len(report["load_before"]) == 3
    assert report["texts"]["distinct documents"] == DISTINCT
