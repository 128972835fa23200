"""Indexes and students as a search host opens them, with every file but FAISS's damaged and the hashes repaired."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import numpy
from onnx import TensorProto, helper
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from leafkit.files.digest import sha256_file
from leafkit.search.manifest import _dump, _hash
from leafkit.search.query_encoder import FORMAT, OUTPUT, VERSION, QueryEncoder
from leafkit.search.query_encoder import digest as record_digest
from leafkit.search.searcher import Searcher
from leafkit.space import Space
from tests.fixtures.packages import index_vectors, update_vectors
from tests.hostile.fuzz.target import Target, digest

SPACE = Space(teacher="drawn", weights="name:drawn", dim=8, normalised=False, pooling="mean", max_length=32)
ROWS = 40
TEXTS = ["how do I list files", "ab ba  Ab", "x"]


def drawn(rows: int, dim: int, seed: int = 0) -> numpy.ndarray:
    return numpy.random.default_rng(seed).standard_normal((rows, dim)).astype(numpy.float32)


def build_index(folder: Path) -> None:
    """Write an index with every part but an encoder."""
    ids = [f"doc {row}" for row in range(ROWS)]
    folder.rmdir()
    index_vectors(ids, drawn(ROWS, 8), SPACE, folder, precision="int8", rescore="float16", rotate="random")
    update_vectors(folder, remove=["doc 3"])


def search_index(folder: Path) -> str:
    """Search with and without memory maps."""
    results: list[object] = []
    for memory_map in (True, False):
        searcher = Searcher.open(folder, memory_map=memory_map)
        for hits in searcher.search(drawn(2, searcher.space.dim, seed=1), 5):
            results += [hits.ids, hits.scores, hits.payload]
        results.append(searcher.search(drawn(1, searcher.space.dim)[0], allow=["doc 1", "doc 9"]).ids)
    return digest(*results)


def reseal_index(folder: Path) -> None:
    """Repair the hashes and sizes in the manifest, and the manifest's own hash, as far as it is still one."""
    path = folder / "manifest.json"
    try:
        content = json.loads(path.read_bytes())
        content.pop("sha256", None)
        for name, facts in content["files"].items():
            facts.update(sha256=sha256_file(folder / name), bytes=(folder / name).stat().st_size)
    except (ValueError, TypeError, KeyError, AttributeError, OSError, RecursionError):
        pass
    try:
        path.write_text(_dump({**content, "sha256": _hash(content)}))
    except (NameError, TypeError, RecursionError, ValueError):
        return


def tokenizer() -> Tokenizer:
    """A tokenizer of pieces with most kinds of components."""
    pieces = [(piece, -float(row)) for row, piece in enumerate(["<s>", "</s>", "<unk>", "▁", *"abcdefghilorstw", "ab"])]
    made = Tokenizer(models.Unigram(pieces, unk_id=2))
    table = (4096).to_bytes(4, "little") + bytes(4096) + b"a\0"
    made.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(table), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Lowercase()]
    )
    split = pre_tokenizers.Split(Regex(r"\p{N}{1,3}| ?\p{L}+|\s+"), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.Metaspace()])
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    return made


def graph() -> bytes:
    """A table of token vectors, their mean and a head."""
    table, head = drawn(20, 6), drawn(6, 8, seed=2)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["states"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "axis"], ["weights"]),
        helper.make_node("Mul", ["states", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "one"], ["sum"], keepdims=0),
        helper.make_node("MatMul", ["sum", "head"], [OUTPUT]),
    ]
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["b", "l"]) for n in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["b", 8])],
        [
            helper.make_tensor("table", TensorProto.FLOAT, table.shape, table.tobytes(), raw=True),
            helper.make_tensor("head", TensorProto.FLOAT, head.shape, head.tobytes(), raw=True),
            helper.make_tensor("axis", TensorProto.INT64, [1], [-1]),
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def build_student(folder: Path) -> None:
    """Write the files that a search host reads of a student."""
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(graph())
    (folder / "tokenizer.json").write_text(tokenizer().to_str())
    (folder / "leafkit.json").write_text(json.dumps({"space": SPACE.to_json()}))
    record = {
        "format": FORMAT,
        "version": VERSION,
        "space": SPACE.id,
        "max_length": 16,
        "files": {"tokenizer.json": "", "onnx/model.onnx": ""},
        "golden": [],
    }
    (folder / "onnx" / "export.json").write_text(json.dumps(record))
    reseal_student(folder)
    vector = QueryEncoder.open(folder).encode(TEXTS[:1])[0]
    record["golden"] = [{"text": TEXTS[0], "role": "query", "float32": vector.tolist()}]
    (folder / "onnx" / "export.json").write_text(json.dumps(record))
    reseal_student(folder)


def encode(folder: Path) -> str:
    """Open the student and encode some texts."""
    return digest(QueryEncoder.open(folder).encode(TEXTS))


def reseal_student(folder: Path) -> None:
    """Repair the hashes in the record, as far as it is still one, and forget the golden vectors of other graphs."""
    path = folder / "onnx" / "export.json"
    try:
        record = json.loads(path.read_bytes())
        record["files"] = {name: sha256_file(folder / name) for name in record["files"]}
        record["space"] = Space.from_json(json.loads((folder / "leafkit.json").read_bytes())["space"]).id
        path.write_text(json.dumps({**record, "sha256": record_digest(record)}))
    except Exception:  # what is damaged stays so
        return


def build_ladder(folder: Path) -> None:
    """Write an index with two students."""
    student = folder.parent / "student"
    shutil.rmtree(student, ignore_errors=True)
    student.mkdir()
    build_student(student)
    facts = {"format": "leafkit-student", "version": 2, "head_width": 6, "files": {}, "training": {}}
    (student / "leafkit.json").write_text(json.dumps({"space": SPACE.to_json(), **facts}))
    folder.rmdir()
    ids = [f"doc {row}" for row in range(ROWS)]
    index_vectors(ids, drawn(ROWS, 8), SPACE, folder, student=[f"small={student}", f"full={student}"])


def search_ladder(folder: Path) -> str:
    """Search with both students."""
    searcher = Searcher.open(folder)
    results = [hits for effort in ("small", "full") for hits in searcher.search(TEXTS, 5, effort=effort)]
    return digest(searcher.efforts, *(part for hits in results for part in (hits.ids, hits.scores)))


def reseal_ladder(folder: Path) -> None:
    """Repair the hashes of the first student, and then those of the index."""
    reseal_student(folder / "encoder-small")
    reseal_index(folder)


def _charsmap(content: bytes, random: numpy.random.Generator) -> bytes:
    """Change some bytes of the table in a tokenizer.json."""
    try:
        parts = json.loads(content)
        table = parts["normalizer"]["normalizers"][0]
        raw = bytearray(base64.b64decode(table["precompiled_charsmap"]))
        for _ in range(random.integers(1, 6)):
            raw[random.integers(len(raw) if random.integers(2) else 12)] = random.integers(256)
        table["precompiled_charsmap"] = base64.b64encode(bytes(raw)).decode()
        return json.dumps(parts).encode()
    except Exception:
        return content[:-1]


TARGETS = [
    Target(
        name="index-files",
        build=build_index,
        use=search_index,
        files=("*.npy", "*.npz", "*.jsonl", "manifest.json"),
        reseal=reseal_index,
        cases=60,
    ),
    Target(name="student-graph", build=build_student, use=encode, files=("onnx/model.onnx",), reseal=reseal_student),
    Target(
        name="student-tokenizer",
        build=build_student,
        use=encode,
        files=("tokenizer.json",),
        reseal=reseal_student,
        mutations=(_charsmap,),
    ),
    Target(
        name="student-record",
        build=build_student,
        use=encode,
        files=("onnx/export.json", "leafkit.json"),
        reseal=reseal_student,
    ),
    Target(
        name="index-ladder",
        build=build_ladder,
        use=search_ladder,
        files=("manifest.json", *(f"encoder-small/{name}" for name in ("leafkit.json", "onnx/export.json"))),
        reseal=reseal_ladder,
        cases=20,
    ),
]
