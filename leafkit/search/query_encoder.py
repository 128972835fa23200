"""The query encoder: a student on onnxruntime, tokenizers and numpy alone; torch is never imported."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy

from leafkit.errors import DamageError, InputError, OptionError
from leafkit.files.digest import sha256_file
from leafkit.shipped import resolve_student, shipped_hint
from leafkit.space import Space
from leafkit.types import Float32, Int64, Role, check_role

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

Precision = Literal["auto", "int8", "float32"]
# Where other runtimes look, the quicker first.
FILES = {"int8": "onnx/model_quantized.onnx", "float32": "onnx/model.onnx"}
OUTPUT = "sentence_embedding"
MARKER, TOKENIZER = "leafkit.json", "tokenizer.json"
RECORD = "onnx/export.json"
FORMAT, VERSION = "leafkit-export", 1
# Golden texts encoded at load: enough to see a processor that computes int8 differently, cheap enough for a start.
CHECKED = 3
# The cosine to the vector that the exporting machine got. Products of int8 are whole numbers, alike everywhere; a
# processor or runtime that lets them overflow gives 0.998 and less.
AGREEMENT = 0.9999

log = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class ExportRecord:
    """What onnx/export.json says.

    ``max_length`` is the limit in tokens (None: none); ``space`` the id of the student's space; ``files`` the SHA-256
    of each file, named from the student's folder: the three are sealed by a hash of their own. ``golden`` holds
    ``text``, ``role`` and, for each precision, the vector that the exporting machine got.
    """

    max_length: int | None
    space: str
    files: dict[str, str]
    golden: list[dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> ExportRecord:
        """The record in ``folder``/onnx; raises `InputError` where there is none, `DamageError` for a broken one."""
        file = folder / RECORD
        if not file.is_file():
            raise InputError(
                f"{folder} holds no exported student (no {RECORD}); run: leafkit export {folder}{shipped_hint(folder)}"
            )
        try:
            raw = json.loads(file.read_bytes())
            if (raw["format"], raw["version"]) != (FORMAT, VERSION):
                raise DamageError(f"{file} is of {raw['format']} version {raw['version']}, wanted {FORMAT} {VERSION}")
            if raw["sha256"] != digest(raw):
                raise DamageError(f"{file} was changed (its SHA-256 differs); copy or export the student again")
            return cls(
                max_length=raw["max_length"],
                space=raw["space"],
                files=dict(raw["files"]),
                golden=list(raw["golden"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamageError(f"{file} is not an export record ({error!r}); export the student again") from error

    @property
    def precisions(self) -> list[str]:
        """What was exported, the quicker first."""
        return [precision for precision, file in FILES.items() if file in self.files]

    def check(self, folder: Path, name: str) -> Path:
        """The file ``name`` of ``folder``; raises `DamageError` unless it is the one that was exported."""
        file = folder / name
        if not file.is_file():
            raise DamageError(f"{file} is missing; copy or export the student again")
        if sha256_file(file) != self.files.get(name):
            raise DamageError(f"{file} is truncated or changed (its SHA-256 differs); copy or export the student again")
        return file


class QueryEncoder:
    """Encodes texts into the teacher's space on one CPU core. Any number of threads may share one.

    Texts are encoded one at a time: int8 activations are scaled by what is in the batch, so that a text's vector
    would otherwise depend on its neighbours.
    """

    # Its vectors must never be kept as the teacher's own.
    approximate = True

    def __init__(self, session: InferenceSession, tokenizer: Tokenizer, space: Space, precision: str) -> None:
        """Use `QueryEncoder.open`."""
        self.space = space
        self.precision = precision
        self._session = session
        self._tokenizer = tokenizer
        self._inputs = [given.name for given in session.get_inputs()]

    @classmethod
    def open(cls, folder: str | Path, *, precision: Precision = "auto", threads: int = 1) -> QueryEncoder:
        """The exported student in ``folder``: a student folder, its name if it ships, or the ``encoder`` of an index.

        precision: int8, float32, or auto: int8 if it gives the golden vectors on this machine, else float32.
        threads: of onnxruntime, for one text.

        Raises `InputError` for a folder without an export and `DamageError` for files that are missing or changed.
        """
        if precision not in ("auto", *FILES):
            raise OptionError(f"unknown precision {precision!r} of a query encoder: choose auto, int8 or float32")
        if threads < 1:
            raise OptionError(f"got threads={threads}, wanted 1 or more")
        root = resolve_student(folder)
        record = ExportRecord.read(root)
        space = _space(root, record)
        tokenizer = _tokenizer(root, record)
        there = [name for name in record.precisions if (root / FILES[name]).is_file()]
        wanted = there if precision == "auto" else [name for name in there if name == precision]
        if not wanted:
            raise DamageError(f"{root / 'onnx'} lacks the {precision} file it should have; export the student again")
        for name in wanted:
            encoder = cls(_session(record.check(root, FILES[name]), threads), tokenizer, space, name)
            if encoder._agrees(root, record):
                return encoder
            log.warning("%s does not give its golden vectors in %s on this processor", root, name)
        raise DamageError(
            f"{root} gives other vectors on this machine than where it was exported, in {' and in '.join(wanted)}; "
            "export it again here, or copy its float32 file (onnx/model.onnx) along"
        )

    def encode(self, texts: Sequence[str], role: Role = "query") -> Float32:
        """Vectors of ``texts``, shape (rows, dim), float32, in the order given; longer texts are cut at the limit."""
        if isinstance(texts, str):
            raise OptionError("got one string, wanted a list of texts")
        vectors = numpy.empty((len(texts), self.space.dim), dtype=numpy.float32)
        for row, text in enumerate(texts):
            try:
                vectors[row] = self._session.run([OUTPUT], self.tokens(text, role))[0][0]
            except OptionError as error:
                raise OptionError(f"text {row + 1} of {len(texts)}: {error}") from error
        return vectors

    def tokens(self, text: str, role: Role) -> dict[str, Int64]:
        """What the graph is fed for ``text``: token ids, and the mask and types it asks for, each (1, tokens)."""
        prompt = self.space.prompt(check_role(role))
        if not isinstance(text, str):
            raise OptionError(f"got a {type(text).__name__}, wanted a string")
        try:
            encoding = self._tokenizer.encode(prompt + text)
        except TypeError as error:  # half of a surrogate pair
            raise OptionError(f"{text!r} is not valid Unicode; replace what is not") from error
        # A tokenizer without special tokens makes nothing of an empty text; the graph needs one masked token.
        columns = {
            "input_ids": encoding.ids or [0],
            "attention_mask": encoding.attention_mask or [0],
            "token_type_ids": encoding.type_ids or [0],
        }
        return {name: numpy.array([columns[name]], dtype=numpy.int64) for name in self._inputs}

    def _agrees(self, root: Path, record: ExportRecord) -> bool:
        try:
            for golden in record.golden[:CHECKED]:
                wanted = numpy.array(golden[self.precision], dtype=numpy.float32)
                got = self.encode([golden["text"]], golden["role"])[0]
                lengths = float(numpy.linalg.norm(wanted) * numpy.linalg.norm(got))
                if not float(wanted @ got) >= AGREEMENT * lengths:
                    return False
        except (ValueError, KeyError, TypeError, OptionError) as error:
            raise DamageError(f"{root / RECORD} has a broken golden text ({error!r}); export it again") from error
        return True


def digest(record: dict[str, Any]) -> str:
    """The SHA-256 of what decides vectors in an export record; golden vectors are checked by being met."""
    deciding = {name: record[name] for name in ("max_length", "space", "files")}
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def copy_runtime(student: Path, to: Path, *, precision: Precision = "auto") -> None:
    """Copy into the new folder ``to`` what a query host needs of an exported student, and no more.

    precision: int8, float32, or auto: int8 where it was exported.
    """
    record = ExportRecord.read(student)
    wanted = record.precisions[:1] if precision == "auto" else [precision]
    if not set(wanted) & set(record.precisions):
        raise InputError(f"{student} was exported without {precision}; run: leafkit export {student} --overwrite")
    (to / "onnx").mkdir(parents=True)
    for name in (TOKENIZER, *(FILES[precision] for precision in wanted)):
        shutil.copyfile(record.check(student, name), to / name)
    for name in (MARKER, RECORD):
        shutil.copyfile(student / name, to / name)


def _space(root: Path, record: ExportRecord) -> Space:
    file = root / MARKER
    try:
        space = Space.from_json(json.loads(file.read_bytes())["space"], where=str(file))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamageError(f"{file} does not describe a student ({error!r}); copy or export it again") from error
    if space.id != record.space:
        raise DamageError(f"{file} is of space {space.id}, but the ONNX files of {record.space}: export them again")
    return space


def _tokenizer(root: Path, record: ExportRecord) -> Tokenizer:
    from tokenizers import Tokenizer

    file = record.check(root, TOKENIZER)
    try:
        tokenizer = Tokenizer.from_file(str(file))
        # The file's own settings are those of another use: some pad every text to 128 tokens.
        tokenizer.no_padding()
        if record.max_length is None:
            tokenizer.no_truncation()
        else:
            side = (tokenizer.truncation or {}).get("direction", "right")
            tokenizer.enable_truncation(record.max_length, direction=side)
    except Exception as error:  # tokenizers raises bare Exception
        raise DamageError(f"{file} cannot be opened as a tokenizer: {error}; export the student again") from error
    return tokenizer


def _session(file: Path, threads: int) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A text of 512 tokens then peaks at 190 MB instead of 230 (both on) or 440 (no arena), at the same speed.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no class of their own
        raise DamageError(f"{file} cannot be opened with onnxruntime: {error}") from error
