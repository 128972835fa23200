"""What every test has: no network, one thread, and tiny real models built on the spot."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"

import hypothesis
import pytest

# A shell that starts the suite in the background has it ignore Ctrl-C, and so would the programs that tests stop.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Python looks for cycles among all objects again and again, which takes a tenth of the suite's time.
gc.set_threshold(100_000, 20, 20)

# A busy machine is slow, not wrong.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_finish() -> None:
    """Keep what the collection has imported out of all later searches for garbage."""
    gc.freeze()


WORDS = (
    "a the of to in list show print copy move remove delete create file folder disk network image text search "
    "replace sort count compress extract archive convert video audio user group process kill start stop status "
    "server client package install update python git commit branch merge history key password encrypt sign"
).split()


@pytest.fixture(scope="session")
def _new_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return an iterator over new folders. `mktemp` would look through all older ones for each."""
    parent = tmp_path_factory.mktemp("caches")
    return (parent / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _own_cache(_new_cache: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test's teacher vectors away from the user's."""
    folder = next(_new_cache)
    folder.mkdir()
    monkeypatch.setenv("LEAFKIT_CACHE", str(folder))


@pytest.fixture(autouse=True)
def _own_log_level() -> Iterator[None]:
    """A command line, also in a fixture, sets how much is said; other tests read what is said without it."""
    yield
    logging.getLogger("leafkit").setLevel(logging.NOTSET)


@pytest.fixture(scope="session", autouse=True)
def _fast_disk() -> Iterator[None]:
    """Let no test wait until the disk has written; only one that cuts the power needs that. tests/files does wait."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _shared_exports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let all tests, also of several workers, share the graphs of equal models, unless no test has imported torch."""
    if "torch" not in sys.modules:
        yield
        return
    from tests.fixtures.exports import sharing_equal_exports

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exports"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("torch.onnx.export", sharing_equal_exports(sys.modules["torch"].onnx.export, folder))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; skips where a clone has none."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no real data at {SHARED / 'data'}: this clone stands alone")
    return SHARED / "data"


def make_model(
    folder: Path, *, width: int, layers: int, seed: int, prompts: dict[str, str] | None = None, unused: int = 0
) -> Path:
    """A real sentence-transformers folder: a random BERT of ``layers`` x ``width``, mean pooling, unit norm.

    Its vocabulary ends with ``unused`` tokens that it keeps free.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    vocabulary += [v for v in (*letters, *(f"##{c}" for c in letters), *"0123456789.,:?!-") if v not in vocabulary]
    vocabulary += [f"[unused{number}]" for number in range(unused)]
    tokenizer = Tokenizer(models.WordPiece({v: i for i, v in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    raw = folder.with_name(folder.name + "-transformer")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    ).save_pretrained(raw)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=64,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(raw)
    modules = [Transformer(str(raw), max_seq_length=64), Pooling(width, "mean"), Normalize()]
    SentenceTransformer(modules=modules, prompts=prompts or {}, device="cpu").save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 4-layer, 32-wide teacher with a query prompt, unit-norm."""
    folder = tmp_path_factory.mktemp("teacher") / "tiny-teacher"
    return make_model(folder, width=32, layers=4, seed=1, prompts={"query": "search: ", "document": ""})


@pytest.fixture(scope="session")
def other_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another teacher of the same shape: its space must never be taken for the first one's."""
    folder = tmp_path_factory.mktemp("teacher") / "other-teacher"
    return make_model(folder, width=32, layers=4, seed=2, prompts={"query": "search: ", "document": ""})


@pytest.fixture(scope="session")
def narrow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 1-layer, 16-wide model: half as wide as the teachers."""
    return make_model(tmp_path_factory.mktemp("model") / "narrow", width=16, layers=1, seed=5)


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """Two hundred different short texts made of the tiny models' own words."""
    import random

    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=draw.randint(3, 12))) + f" {i}" for i in range(200)]


@pytest.fixture(scope="session")
def tiny_texts(tmp_path_factory: pytest.TempPathFactory, sentences: list[str]) -> Path:
    """The sentences as a file, query and document in turn."""
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    roles = ("query", "document")
    file.write_text("".join(f'{{"text": "{text}", "role": "{roles[i % 2]}"}}\n' for i, text in enumerate(sentences)))
    return file


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, tiny_teacher: Path, tiny_texts: Path) -> Path:
    """A two-layer student of the tiny teacher at its ridge start, exported; shared, so never changed."""
    import leafkit

    folder = tmp_path_factory.mktemp("student")
    cache = folder / "cache"
    leafkit.distill(tiny_texts, tiny_teacher, "teacher:layers=2", folder / "student", epochs=0, cache=cache)
    return folder / "student"


@pytest.fixture(scope="session")
def table_student(tmp_path_factory: pytest.TempPathFactory, tiny_teacher: Path, tiny_texts: Path) -> Path:
    """A token table of the tiny teacher's space, exported; shared, so never changed."""
    import leafkit

    folder = tmp_path_factory.mktemp("table")
    leafkit.distill(tiny_texts, tiny_teacher, "static:dim=8", folder / "table", epochs=0, cache=folder / "cache")
    return folder / "table"


@pytest.fixture(scope="session")
def ladder(tmp_path_factory: pytest.TempPathFactory, exported: Path, table_student: Path) -> Path:
    """An index of a hundred drawn vectors with a token table and a transformer inside; shared, so never changed."""
    from leafkit.students.folder import read_student
    from tests.fixtures.packages import drawn_vectors, index_vectors

    space, ids = read_student(exported).space, [f"doc {row}" for row in range(100)]
    folder = tmp_path_factory.mktemp("ladder") / "ladder.index"
    return index_vectors(ids, drawn_vectors(100, space.dim), space, folder, student=[exported, table_student])


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """A copy of the exported student, to be broken."""
    import shutil

    return shutil.copytree(exported, tmp_path / "copied")
