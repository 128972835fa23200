import dataclasses
import json
import logging
import os
import shutil

import numpy
import pytest
import torch
from sentence_transformers import SentenceTransformer

import leafkit
from leafkit.errors import ExportError, MissingExtraError, OptionError, OutputError, TextError, TrainingError
from leafkit.students.encoder import open_student
from leafkit.students.folder import read_student
from leafkit.teachers.open import open_teacher
from leafkit.vectors.mapping import read_mapping
from tests.fixtures.copies import copy_model, half

QUERY = ["list the files of a user", "the key of a server"]


def weights(path):
    from safetensors.torch import load_file

    return {
        f"{file.relative_to(path)}:{name}": tensor
        for file in sorted(path.rglob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def same(one, other):
    one, other = weights(one), weights(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_training_brings_the_student_closer_to_its_teacher(distil):
    facts = distil(epochs=20, learning_rate=1e-3, head="random")
    assert facts.training["best"]["cosine_mean"] > facts.training["start"]["cosine_mean"]
    assert facts.training["best"]["distance"] < facts.training["start"]["distance"]


def test_plain_sentence_transformers_gives_the_same_vectors(distil, tmp_path):
    space = distil().space
    plain, ours = SentenceTransformer(str(tmp_path / "student"), device="cpu"), open_student(tmp_path / "student")
    assert plain.encode_query(QUERY) == pytest.approx(ours.encode(QUERY, "query"), abs=1e-6)
    assert plain.encode_document(QUERY) == pytest.approx(ours.encode(QUERY, "document"), abs=1e-6)
    assert not numpy.allclose(ours.encode(QUERY, "query"), ours.encode(QUERY, "document"))
    assert ours.space == space


def test_the_student_lives_in_the_teachers_space(distil, tiny_teacher):
    assert distil().space == open_teacher(tiny_teacher).space


def test_a_vectors_file_can_be_named_as_teacher(distil, texts_file, tiny_teacher, tmp_path):
    from leafkit.teachers.embed import embed

    vectors_file = embed(texts_file, str(tiny_teacher), tmp_path / "vectors_file.parquet", precision="float32")
    by_name = distil(teacher=str(vectors_file), student=f"{tiny_teacher}:layers=2", device="cpu")
    opened = distil(teacher=open_teacher(vectors_file), student=f"{tiny_teacher}:layers=2", out=tmp_path / "opened")
    assert same(by_name.path, opened.path)


def test_texts_can_come_from_a_file_whose_name_is_not_utf8(distil, texts_file, tmp_path):
    file = tmp_path / os.fsdecode(b"caf\xe9.jsonl")
    shutil.copy(texts_file, file)
    with open(file, "a") as end:
        end.write('{"text": "a text of no known source"}\n')
    facts = distil(texts=str(file), role="document")
    assert str(file) in {row["source"] for row in facts.training["data"]["counts"]}
    assert "caf?.jsonl" in (facts.path / "README.md").read_text()


def test_the_plainly_loaded_student_has_no_untrained_parameters(distil, tmp_path):
    distil()
    plain = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    assert sum(p.numel() for p in plain.parameters()) == sum(t.numel() for t in weights(tmp_path / "student").values())


def test_the_student_kept_is_the_best_of_all_validations(distil, tmp_path):
    facts = distil(epochs=4, valid_every=5, learning_rate=3e-3)
    history = facts.training["history"]
    assert max(entry["cosine_mean"] for entry in history) == facts.training["best"]["cosine_mean"]
    assert [entry["step"] for entry in history] == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 52]


def test_zero_epochs_keep_the_ridge_start(distil, tmp_path):
    start = distil(epochs=0).training["start"]
    random = distil(epochs=0, head="random", out=tmp_path / "random").training["start"]
    assert start["cosine_mean"] > random["cosine_mean"] + 0.2
    assert start["step"] == 0


def test_a_head_without_bias_stays_without_one(distil, tmp_path):
    facts = distil(head_bias=False)
    assert not [name for name in weights(tmp_path / "student") if "Dense" in name and name.endswith("bias")]
    assert (
        facts.training["best"]["cosine_mean"]
        > distil(head="random", out=tmp_path / "r").training["start"]["cosine_mean"]
    )


def test_seconds_of_training_grow(distil):
    seconds = [entry["seconds"] for entry in distil(epochs=2).training["history"]]
    assert seconds[0] == 0
    assert seconds == sorted(seconds)
    assert seconds[-1] > 0


def test_students_are_equal_exactly_if_their_seeds_are(distil, tmp_path):
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        distil(out=tmp_path / name, seed=seed)
    assert same(tmp_path / "one", tmp_path / "same")
    assert not same(tmp_path / "one", tmp_path / "other")


def test_a_batch_in_parts_trains_the_same_student_as_a_whole_batch(distil, tmp_path, monkeypatch):
    reports = {}
    for name, tokens in (("whole", 10**6), ("parts", 40)):
        monkeypatch.setattr("leafkit.training.loop.PART_TOKENS", tokens)
        reports[name] = distil(out=tmp_path / name, epochs=2, learning_rate=1e-3, keep="last").training["history"]
    whole, parts = (weights(tmp_path / name) for name in ("whole", "parts"))
    assert all(torch.allclose(whole[name], parts[name], atol=1e-4) for name in whole)
    assert not same(tmp_path / "whole", tmp_path / "parts")
    losses = {name: [entry["loss"] for entry in history[1:]] for name, history in reports.items()}
    assert losses["whole"] == pytest.approx(losses["parts"], rel=1e-4)


def test_losses_that_compare_texts_see_the_whole_batch(distil, tmp_path, monkeypatch):
    for name, tokens in (("whole", 10**6), ("parts", 40)):
        monkeypatch.setattr("leafkit.training.loop.PART_TOKENS", tokens)
        distil(out=tmp_path / name, methods=["leaf", "sinkd:weight=0.1"], keep="last")
    assert same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("student", ["static:dim=16", "PATH:layers=1"])
@pytest.mark.parametrize("objective", ["squared", "cosine"])
def test_every_kind_of_student_learns_with_every_objective(student, objective, distil, tiny_teacher):
    facts = distil(
        student=student.replace("PATH", str(tiny_teacher)),
        objective=objective,
        epochs=6,
        learning_rate=1e-3,
        head="random",
    )
    assert facts.training["best"]["step"] > 0


def test_bfloat16_comes_close_to_float32(distil, tmp_path):
    wide = distil(epochs=3, learning_rate=1e-3).training["best"]["cosine_mean"]
    narrow = distil(epochs=3, learning_rate=1e-3, precision="bfloat16", out=tmp_path / "narrow").training["best"]
    assert narrow["cosine_mean"] == pytest.approx(wide, abs=0.01)


def test_a_teacher_that_only_looks_up_vectors_can_teach(distil, tiny_teacher, texts_file, tmp_path):
    teacher = open_teacher(tiny_teacher, compute="float32")
    texts = [json.loads(line) for line in texts_file.read_text().splitlines()]

    class Vectors:
        signals = frozenset({"embeddings"})
        space = dataclasses.replace(teacher.space, weights="name:elsewhere", normalised=False)

        def encode(self, asked, role):
            return 3 * teacher.encode(asked, role)

    facts = distil(teacher=Vectors(), student=str(tiny_teacher) + ":layers=2", epochs=5)
    vectors = open_student(tmp_path / "student").encode([row["text"] for row in texts[:20]], "document")
    assert numpy.linalg.norm(vectors, axis=1).mean() == pytest.approx(3, abs=1)
    assert facts.training["best"]["cosine_mean"] > 0.5


def test_the_folder_records_how_the_student_was_made(distil, texts_file):
    facts = distil(epochs=0.5)
    training = facts.training
    assert training["recipe"]["epochs"] == 0.5
    assert training["data"]["training"] == 196
    assert training["data"]["validation"] == 4
    assert [row["texts"] for row in training["data"]["counts"]] == [100, 100]
    card = (facts.path / "README.md").read_text()
    for part in (facts.space.id, "tiny-teacher", "teacher:layers=2", "encode_query", "source-0", "5th percentile"):
        assert part in card
    assert "not measured: 4 held-out texts, 200 needed" in card
    assert "{" not in card


def test_info_and_the_record_have_no_overlap_of_few_texts(distil):
    facts = distil(epochs=0)
    assert [entry["overlap_at_10"] for entry in facts.training["history"]] == [None]
    assert leafkit.info(facts.path)["held-out overlap@10"] == "not measured: 4 held-out texts, 200 needed"


def test_an_overlap_of_200_texts_is_recorded_and_logged(distil, texts_file, tmp_path, caplog):
    others = tmp_path / "others.txt"
    others.write_text("".join(f"list file {i} of a folder\n" for i in range(50)))
    with caplog.at_level(logging.INFO, logger="leafkit"):
        facts = distil(epochs=0, texts=others, valid=texts_file, student="static:dim=8")
    overlap = facts.training["start"]["overlap_at_10"]
    assert f"overlap@10 {overlap:.3f}" in caplog.text
    assert "In our measurements, students with a cosine" in caplog.text
    assert f"| {overlap:.3f} | {overlap:.3f} |" in (facts.path / "README.md").read_text()


def test_only_the_student_is_left_in_the_output_folder(distil, tmp_path):
    distil()
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_keep_last_keeps_the_last_student_even_if_it_is_the_worst(distil, tmp_path):
    harm = {"learning_rate": 0.005, "final_learning_rate": 0.005, "valid_every": 13}
    best, last = (distil(out=tmp_path / keep, keep=keep, **harm) for keep in ("best", "last"))
    assert best.training["best"]["step"] == 0
    assert last.training["best"] == last.training["history"][-1]
    assert last.training["best"]["step"] == last.training["steps"]
    assert "the last." in (last.path / "README.md").read_text()
    assert not same(best.path, last.path)


def test_curves_are_written_for_tensorboard(distil, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    distil(tensorboard=tmp_path / "curves", methods=["leaf", "sinkd:count=4"])
    curves = EventAccumulator(str(tmp_path / "curves")).Reload()
    wanted = {"train/loss", "train/rate", "train/leaf/leaf", "train/sinkd/sinkd", "valid/cosine_mean"}
    assert wanted <= set(curves.Tags()["scalars"])
    assert "valid/overlap_at_10" not in curves.Tags()["scalars"]
    assert [entry.step for entry in curves.Scalars("train/loss")] == list(range(1, 14))


def test_a_missing_tensorboard_names_the_extra_to_install(distil, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"leafkit\[train\]"):
        distil(tensorboard=tmp_path / "curves")


def test_a_collapse_stops_the_run_and_keeps_the_last_good_checkpoint(distil, tmp_path):
    with pytest.raises(TrainingError, match="lower learning rate"):
        distil(epochs=10, learning_rate=30.0, valid_every=10)
    kept = tmp_path / ".student.run" / "checkpoints"
    assert (kept / "step-000000000" / "student.safetensors").is_file()
    assert not (tmp_path / "student").exists()


def test_an_option_of_the_teacher_is_passed_on(distil, tiny_teacher):
    assert distil(teacher=tiny_teacher, query_prompt="ask: ").space.query_prompt == "ask: "


def test_a_student_cannot_teach(distil, tmp_path):
    distil()
    with pytest.raises(OptionError, match="a student cannot teach"):
        distil(teacher=str(tmp_path / "student"), out=tmp_path / "grandchild")


def test_an_existing_output_raises_before_any_work(distil, tmp_path, caplog):
    distil()
    with pytest.raises(OutputError, match="--overwrite"), caplog.at_level(logging.INFO, logger="leafkit"):
        distil()
    assert not caplog.records
    assert distil(overwrite=True, seed=5).training["recipe"]["seed"] == 5


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"student": "teacher:depth=2"}, OptionError),
        ({"objective": "manhattan"}, OptionError),
        ({"checkpoint_every": 0}, OptionError),
        ({"role": "passage"}, OptionError),
        ({"store_dtype": "int8"}, OptionError),
        ({"texts": "/nowhere.jsonl"}, TextError),
    ],
)
def test_a_wrong_argument_leaves_no_folder_behind(settings, error, distil, tmp_path):
    with pytest.raises(error):
        distil(**settings)
    assert not (tmp_path / "student").exists()


def test_a_student_is_exported_for_hosts_without_torch(distil, tmp_path):
    from leafkit.search.query_encoder import QueryEncoder

    distil(export=True)
    without_torch = QueryEncoder.open(tmp_path / "student", precision="float32").encode(QUERY, "query")
    assert without_torch == pytest.approx(open_student(tmp_path / "student").encode(QUERY, "query"), abs=1e-4)


def test_read_student_does_not_load_it(distil, tmp_path):
    facts = distil()
    again = read_student(tmp_path / "student")
    assert (again.space, again.head_width, again.weights) == (facts.space, 32, facts.weights)


def test_a_failed_export_keeps_the_student(distil, tmp_path, monkeypatch):
    def refuse(folder):
        raise ExportError("int8 does not agree")

    monkeypatch.setattr("leafkit.onnx.student.export_inside", refuse)
    with pytest.raises(ExportError, match=r"finished in .* without ONNX files: int8 does not agree"):
        distil(epochs=0, export=True)
    assert open_student(tmp_path / "student").encode(["a file"], "query").shape == (1, 32)
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.endswith(".run")] == []


def test_a_student_of_another_copy_of_the_teacher_stays_in_the_space(distil, exported, tiny_teacher, tmp_path):
    from leafkit.vectors.fingerprint import read_fingerprint

    copy = copy_model(tiny_teacher, tmp_path / "copy", half, prompts={})
    before = read_student(exported).space
    facts = distil(teacher=str(copy), student=str(exported), epochs=0, rotate="pca", cache=tmp_path / "cache")
    mapping = read_mapping(facts.path, facts.space)
    assert mapping.base == before
    assert read_fingerprint(facts.path, before).vectors.tolist() == read_fingerprint(exported, before).vectors.tolist()
    assert before.id not in {folder.name.partition("-")[0] for folder in (tmp_path / "cache").iterdir()}


def test_another_teacher_may_train_a_student_further_in_its_own_space(distil, exported, other_teacher, caplog):
    with caplog.at_level(logging.INFO, "leafkit"):
        facts = distil(teacher=str(other_teacher), student=str(exported), epochs=0)
    assert facts.space.id == open_teacher(other_teacher).space.id
    assert "the new student leaves the space of the one it starts from" in caplog.text
