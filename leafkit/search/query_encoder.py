"""Encode queries with an exported student, on onnxruntime, tokenizers and numpy alone; torch is never imported."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy

from leafkit.errors import DamageError, InputError, OptionError
from leafkit.files.json_file import MOST_BYTES, explain_invalid, parse_json_object
from leafkit.files.open_files import OpenFiles
from leafkit.prompts import Prompts, recorded_prompts
from leafkit.search.onnx_session import OnnxSession
from leafkit.search.tokenizer_check import MOST_BYTES as MOST_TOKENIZER_BYTES
from leafkit.search.tokenizer_check import check_tokenizer
from leafkit.shipped import resolve_student, shipped_hint
from leafkit.space import Space
from leafkit.types import Float32, Int64, Role, check_role

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Precision = Literal["auto", "int8", "float32"]
# The paths where other runtimes look for these graphs, the faster one first.
FILES = {"int8": "onnx/model_quantized.onnx", "float32": "onnx/model.onnx"}
INPUTS, OUTPUT = frozenset({"input_ids", "attention_mask", "token_type_ids"}), "sentence_embedding"
MARKER, TOKENIZER = "leafkit.json", "tokenizer.json"
RECORD = "onnx/export.json"
FORMAT, VERSION = "leafkit-export", 1
# Golden texts encoded when a student is opened: enough to detect a processor that computes int8 differently, and
# still fast.
CHECKED = 3
# The longest golden text among these, in characters. They have 30; a longer one could cost as much time as it likes.
LONGEST_CHECKED = 1000
# The smallest accepted cosine between a golden vector of the exporting machine and the same vector here. Products of
# int8 are whole numbers and equal everywhere, but processors or runtimes that let them overflow give 0.998 or less.
AGREEMENT = 0.9999

log = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class ExportRecord:
    """The content of onnx/export.json.

    max_length: the length limit in tokens, or None.
    space: the id of the student's space.
    files: the SHA-256 of each file, by its path within the student's folder.
    golden: texts with their role and, for each precision, the vector that the exporting machine computed.

    The file also holds a hash of the first three (see `digest`).
    """

    max_length: int | None
    space: str
    files: dict[str, str]
    golden: list[dict[str, Any]]

    @classmethod
    def read(cls, folder: Path, files: OpenFiles | None = None) -> ExportRecord:
        """Read the record in ``folder``; raises `InputError` if it is missing and `DamageError` if it is damaged.

        ``files`` are the open files of the folder; None opens the record for this call.
        """
        if files is None:
            with OpenFiles(folder, follow_links=True) as files:
                return cls.read(folder, files)
        file = folder / RECORD
        with explain_invalid(file, expected="an export record", advice="Export the student again."):
            try:
                raw = parse_json_object(files.read(file, most_bytes=MOST_BYTES))
            except (FileNotFoundError, NotADirectoryError) as error:
                raise InputError(
                    f"{folder} is not an exported student: it has no {RECORD}. "
                    f"Run: leafkit export {folder}{shipped_hint(folder)}"
                ) from error
            if (raw["format"], raw["version"]) != (FORMAT, VERSION):
                raise DamageError(
                    f"{file} has the format {raw['format']} version {raw['version']}; expected {FORMAT} version "
                    f"{VERSION}. Export the student again, or update leafkit."
                )
            if raw["sha256"] != digest(raw):
                raise DamageError(f"{file} was changed (its SHA-256 differs). Copy or export the student again.")
            return cls(
                max_length=raw["max_length"],
                space=raw["space"],
                files=dict(raw["files"]),
                golden=list(raw["golden"]),
            )

    @property
    def precisions(self) -> list[str]:
        """The exported precisions, the faster one first."""
        return [precision for precision, file in FILES.items() if file in self.files]

    def check(self, folder: Path, name: str, files: OpenFiles | None = None) -> Path:
        """Return the path of the file ``name`` in ``folder``; raises `DamageError` if its hash differs.

        ``files`` are the open files of the folder: what is read from them later is what was hashed here.
        """
        if files is None:
            with OpenFiles(folder, follow_links=True) as files:
                return self.check(folder, name, files)
        file = folder / name
        with explain_invalid(file, expected="a file of a student", advice="Copy or export the student again."):
            if files.sha256(file) != self.files.get(name):
                raise DamageError(
                    f"{file} is truncated or changed (its SHA-256 differs). Copy or export the student again."
                )
        return file


class QueryEncoder:
    """An exported student that encodes texts into the teacher's space on one CPU core.

    Any number of threads may share one encoder. Texts are encoded one at a time: int8 activations are scaled by the
    content of a batch, so in a batch the vector of a text would depend on the other texts.
    """

    # Lets the command line encode texts with it where it takes a teacher (`leafkit.types.Teacher`).
    signals = frozenset({"embeddings", "online"})
    # Keeps the cache of teacher vectors from storing these vectors as the teacher's own.
    approximate = True

    def __init__(
        self, session: OnnxSession, tokenizer: Tokenizer, space: Space, prompts: Prompts, precision: str
    ) -> None:
        """Combine parts that are already open; `QueryEncoder.open` opens them."""
        self.space = space
        self.prompts = prompts
        self.precision = precision
        self._session = session
        self._tokenizer = tokenizer

    @classmethod
    def open(cls, folder: str | Path, *, precision: Precision = "auto", threads: int = 1) -> QueryEncoder:
        """Open the exported student in ``folder``.

        folder: a student folder, the name of a student that ships with leafkit, or the folder ``encoder`` of an index.
        precision: int8, float32 or auto. auto is int8 if int8 reproduces the golden vectors on this machine, and
            float32 otherwise.
        threads: threads that onnxruntime uses for one text.

        Raises `InputError` for a folder without an export, `DamageError` for files that are missing or changed and for
        an export that does not reproduce its golden vectors here, and `OptionError` for an option outside its range.
        """
        if precision not in ("auto", *FILES):
            raise OptionError(f"precision is {precision!r}; expected auto, int8 or float32.")
        if threads < 1:
            raise OptionError(f"threads is {threads}; expected at least 1.")
        root = resolve_student(folder)
        with OpenFiles(root, follow_links=True) as files:
            return cls.read(root, files, precision=precision, threads=threads)

    @classmethod
    def read(cls, root: Path, files: OpenFiles, *, precision: Precision = "auto", threads: int = 1) -> QueryEncoder:
        """Open the exported student in the folder ``root`` from its open ``files``; see `open`."""
        record = ExportRecord.read(root, files)
        space, prompts = _space_and_prompts(root, files, record)
        tokenizer = read_tokenizer(root, files, record)
        present = [name for name in record.precisions if files.has(root / FILES[name])]
        tried = present if precision == "auto" else [name for name in present if name == precision]
        if not tried:
            raise DamageError(f"{root / 'onnx'} lacks the {precision} file. Copy or export the student again.")
        for name in tried:
            file = record.check(root, FILES[name], files)
            session = OnnxSession(files.open(file), file, output=OUTPUT, inputs=INPUTS, threads=threads)
            encoder = cls(session, tokenizer, space, prompts, name)
            if encoder._reproduces_golden(root, record):
                return encoder
            log.warning("%s does not reproduce its golden vectors in %s on this processor", root, name)
        raise DamageError(
            f"{root} computes other vectors on this machine than where it was exported, in {' and in '.join(tried)}. "
            "Export it again on this machine, or copy its float32 file (onnx/model.onnx) here as well."
        )

    def encode(self, texts: Sequence[str], role: Role = "query") -> Float32:
        """Encode ``texts`` into vectors (rows, dim), float32, in the order given.

        Texts beyond the length limit are truncated. Raises `OptionError` naming the first text that is not a string or
        not valid Unicode, and for an unknown role.
        """
        if isinstance(texts, str):
            raise OptionError(f"texts is the string {texts[:80]!r}; expected a list of texts.")
        vectors = numpy.empty((len(texts), self.space.dim), dtype=numpy.float32)
        for row, text in enumerate(texts):
            try:
                vectors[row] = self._vector(text, role)
            except OptionError as error:
                raise OptionError(f"text {row + 1} of {len(texts)}: {error}") from error
        return vectors

    def tokens(self, text: str, role: Role) -> dict[str, Int64]:
        """Return the graph's inputs for ``text``: token ids, and mask and token types if needed, each (1, tokens)."""
        prompt = self.prompts[check_role(role)]
        if not isinstance(text, str):
            raise OptionError(f"got {type(text).__name__}; expected a string.")
        try:
            with panics_as_errors():
                encoding = self._tokenizer.encode(prompt + text)
        except TypeError as error:  # half of a surrogate pair
            raise OptionError(f"{text!r} is not valid Unicode. Replace its invalid characters.") from error
        except Exception as error:  # tokenizers raises bare Exception
            raise DamageError(
                f"the student's {TOKENIZER} cannot encode this text: {error}. Copy or export the student again."
            ) from error
        # A tokenizer without special tokens returns no token for an empty text, but the graph needs at least one.
        columns = {
            "input_ids": encoding.ids or [0],
            "attention_mask": encoding.attention_mask or [0],
            "token_type_ids": encoding.type_ids or [0],
        }
        return {name: numpy.array([columns[name]], dtype=numpy.int64) for name in self._session.inputs}

    def _vector(self, text: str, role: Role, options: Any = None) -> Float32:
        """Return the vector of one text, (dim,); ``options`` are those of `OnnxSession.within_limit`."""
        output = self._session.run(self.tokens(text, role), options)
        if not isinstance(output, numpy.ndarray) or output.shape != (1, self.space.dim) or output.dtype.kind != "f":
            raise DamageError(
                f"the student's ONNX file returns {getattr(output, 'dtype', type(output).__name__)} of shape "
                f"{getattr(output, 'shape', None)}; expected floats of shape (1, {self.space.dim}). "
                "Copy or export the student again."
            )
        return output[0]

    def _reproduces_golden(self, root: Path, record: ExportRecord) -> bool:
        """Tell whether the first golden texts get the vectors that they got on the exporting machine."""
        golden = record.golden[:CHECKED]
        return self._session.within_limit(lambda options: self._agrees(root / RECORD, golden, options))

    def _agrees(self, file: Path, golden_texts: list[dict[str, Any]], options: Any) -> bool:
        try:
            for golden in golden_texts:
                recorded = numpy.array(golden[self.precision], dtype=numpy.float32)
                if len(golden["text"]) > LONGEST_CHECKED:
                    raise ValueError(f"a text of {len(golden['text'])} characters")
                computed = self._vector(golden["text"], golden["role"], options)
                lengths = float(numpy.linalg.norm(recorded) * numpy.linalg.norm(computed))
                if not float(recorded @ computed) >= AGREEMENT * lengths:  # `not`, so that NaN fails as well
                    return False
        except (ValueError, KeyError, TypeError, OverflowError, OptionError) as error:
            raise DamageError(f"{file} has an invalid golden text ({error!r}). Export the student again.") from error
        return True


def digest(record: dict[str, Any]) -> str:
    """Return the SHA-256 of the fields of an export record that decide its vectors.

    Golden vectors are not included: opening a student checks them against the vectors it computes.
    """
    deciding = {name: record[name] for name in ("max_length", "space", "files")}
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def _space_and_prompts(root: Path, files: OpenFiles, record: ExportRecord) -> tuple[Space, Prompts]:
    file = root / MARKER
    with explain_invalid(file, expected="the description of a student", advice="Copy or export the student again."):
        facts = parse_json_object(files.read(file, most_bytes=MOST_BYTES))
        space = Space.from_json(facts["space"], where=str(file))
        prompts = recorded_prompts(facts, space)
    if space.id != record.space:
        raise DamageError(
            f"{file} has the space {space.id}, but the ONNX files have the space {record.space}. "
            "Export the student again."
        )
    return space, prompts


def read_tokenizer(root: Path, files: OpenFiles, record: ExportRecord) -> Tokenizer:
    """Read the tokenizer of the student in ``root``, which truncates texts at the limit of ``record``.

    Raises `DamageError` for a tokenizer.json that was changed or could do harm.
    """
    from tokenizers import Tokenizer

    file = record.check(root, TOKENIZER, files)
    try:
        content = files.read(file, most_bytes=MOST_TOKENIZER_BYTES)
        check_tokenizer(content)
        with panics_as_errors():
            tokenizer = Tokenizer.from_buffer(content)
            # The settings in the file are for other uses: some tokenizers pad every text to 128 tokens.
            tokenizer.no_padding()
            if record.max_length is None:
                tokenizer.no_truncation()
            else:
                side = (tokenizer.truncation or {}).get("direction", "right")
                tokenizer.enable_truncation(record.max_length, direction=side)
    except Exception as error:  # tokenizers raises bare Exception
        raise DamageError(f"{file} cannot be opened as a tokenizer: {error}. Export the student again.") from error
    return tokenizer


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Turn a panic inside tokenizers, which is no `Exception` in Python, into a RuntimeError."""
    try:
        yield
    except (Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # pyo3_runtime.PanicException cannot be imported
        raise RuntimeError(f"tokenizers failed: {error}") from error
