"""The query encoder: a student on onnxruntime, tokenizers and numpy alone; torch is never imported."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy

from leafkit.digest import sha256_file
from leafkit.errors import DamageError, InputError, OptionError
from leafkit.space import Space
from leafkit.types import Float32, Role, check_role

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

Precision = Literal["auto", "int8", "float32"]
FILES = {"float32": "model.onnx", "int8": "model_quantized.onnx"}
RECORD = "export.json"
# Golden texts encoded at load: enough to see a processor that computes int8 differently, cheap enough for a start.
CHECKED = 3
# The cosine to the vector that the exporting machine got. int8 products are exact integers where the processor
# has the instructions for them; where it has not they saturate, and cosines drop to 0.9 and below.
AGREEMENT = {"float32": 0.9999, "int8": 0.99}

log = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class ExportRecord:
    """What onnx/export.json says: token limit (None: no limit), hash of each ONNX file, and golden texts with their vectors.

    ``golden`` holds ``text``, ``role`` and, for each precision, the vector that the exporting machine got.
    """

    max_length: int | None
    files: dict[str, str]
    golden: list[dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> ExportRecord:
        """The record in ``folder``/onnx; raises `InputError` where there is none, `DamageError` for a broken one."""
        file = folder / "onnx" / RECORD
        if not file.is_file():
            raise InputError(f"{folder} holds no exported student (no onnx/{RECORD}); run: leafkit export {folder}")
        try:
            raw = json.loads(file.read_bytes())
            return cls(max_length=raw["max_length"], files=dict(raw["files"]), golden=list(raw["golden"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DamageError(f"{file} is not an export record ({error!r}); export the student again") from error


class QueryEncoder:
    """Encodes texts into the teacher's space on one CPU core. Any number of threads may share one.

    Texts are encoded one at a time: int8 activations are scaled by what is in the batch, so that a text's vector
    would otherwise depend on its neighbours.
    """

    # Its vectors must never be kept as the teacher's own.
    stand_in = True

    def __init__(self, session: InferenceSession, tokenizer: Tokenizer, space: Space, precision: str) -> None:
        """Use `QueryEncoder.open`."""
        self.space = space
        self.precision = precision
        self._session = session
        self._tokenizer = tokenizer
        self._inputs = [given.name for given in session.get_inputs()]

    @classmethod
    def open(cls, folder: str | Path, *, precision: Precision = "auto", threads: int = 1) -> QueryEncoder:
        """The exported student in ``folder``: a student folder, or the ``encoder`` folder of an index.

        precision: int8, float32, or auto: int8 if it gives the golden vectors on this machine, else float32.
        threads: of onnxruntime, for one text.

        Raises `InputError` for a folder without an export and `DamageError` for files that are missing or changed.
        """
        if precision not in ("auto", *FILES):
            raise OptionError(f"unknown precision {precision!r} of a query encoder: choose auto, int8 or float32")
        root = Path(folder)
        record = ExportRecord.read(root)
        there = [name for name in ("int8", "float32") if FILES[name] in record.files]
        there = [name for name in there if (root / "onnx" / FILES[name]).is_file()]
        wanted = there if precision == "auto" else [name for name in there if name == precision]
        for name in wanted:
            encoder = cls._load(root, record, name, threads)
            if encoder._agrees(record):
                return encoder
            log.warning("%s does not give its golden vectors in %s on this processor", root, name)
        if not wanted:
            raise DamageError(f"{root / 'onnx'} lacks the {precision} file it should have; export the student again")
        raise DamageError(
            f"{root} gives other vectors on this machine than where it was exported, in {' and in '.join(wanted)}; "
            "export it again here, or copy its float32 file (onnx/model.onnx) along"
        )

    @classmethod
    def _load(cls, root: Path, record: ExportRecord, precision: str, threads: int) -> QueryEncoder:
        import onnxruntime
        from tokenizers import Tokenizer

        file = root / "onnx" / FILES[precision]
        if sha256_file(file) != record.files[FILES[precision]]:
            raise DamageError(f"{file} is truncated or changed (its SHA-256 differs); copy or export it again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Freed blocks go back to the system: a query host serves many short texts and few long ones.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        try:
            space = Space.from_json(json.loads((root / "leafkit.json").read_bytes())["space"], where=str(root))
            tokenizer = Tokenizer.from_file(str(root / "tokenizer.json"))
            session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except DamageError:
            raise
        except Exception as error:  # onnxruntime and tokenizers raise classes of their own, and bare Exception
            raise DamageError(f"{root} cannot be opened as a query encoder: {error}") from error
        tokenizer.no_padding()
        if record.max_length is None:
            tokenizer.no_truncation()
        else:
            tokenizer.enable_truncation(record.max_length)
        return cls(session, tokenizer, space, precision)

    def encode(self, texts: Sequence[str], role: Role = "query") -> Float32:
        """Vectors of ``texts``, shape (rows, dim), float32, in the order given; longer texts are cut at the limit."""
        prompt = self.space.prompt(check_role(role))
        vectors = numpy.empty((len(texts), self.space.dim), dtype=numpy.float32)
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise OptionError(f"text {row + 1} of {len(texts)} is a {type(text).__name__}, wanted a string")
            vectors[row] = self._encode(prompt + text)
        return vectors

    def _encode(self, text: str) -> Float32:
        encoding = self._tokenizer.encode(text)
        # A tokenizer without special tokens makes nothing of an empty text; the graph needs one masked token.
        tokens = {
            "input_ids": encoding.ids or [0],
            "attention_mask": encoding.attention_mask or [0],
            "token_type_ids": encoding.type_ids or [0],
        }
        feed = {name: numpy.array([tokens[name]], dtype=numpy.int64) for name in self._inputs}
        return self._session.run(None, feed)[0][0]

    def _agrees(self, record: ExportRecord) -> bool:
        for golden in record.golden[:CHECKED]:
            wanted = numpy.array(golden[self.precision], dtype=numpy.float32)
            got = self.encode([golden["text"]], golden["role"])[0]
            lengths = float(numpy.linalg.norm(wanted) * numpy.linalg.norm(got))
            if not float(wanted @ got) >= AGREEMENT[self.precision] * lengths:
                return False
        return True


def copy_runtime(student: Path, to: Path, *, precision: str = "int8") -> None:
    """Copy into the new folder ``to`` what a query host needs of an exported student, and no more."""
    record = ExportRecord.read(student)
    if FILES[precision] not in record.files:
        raise InputError(f"{student} was exported without {precision}; run: leafkit export {student} --overwrite")
    (to / "onnx").mkdir(parents=True)
    for name in ("leafkit.json", "tokenizer.json", f"onnx/{RECORD}", f"onnx/{FILES[precision]}"):
        if not (student / name).is_file():
            raise DamageError(f"{student / name} is missing; export the student again")
        shutil.copyfile(student / name, to / name)
