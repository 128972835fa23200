"""The golden vectors of an exported student, with which the vectors of every runtime are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leafkit.errors import DamageError, InputError
from leafkit.files.open_files import OpenFiles
from leafkit.prompts import Prompts
from leafkit.search.query_encoder import FILES, RECORD, ExportRecord, panics_as_errors, read_tokenizer
from leafkit.space import Space
from leafkit.students.folder import read_student
from leafkit.students.golden import BOUNDS
from leafkit.types import Float32, Role, check_role
from leafkit.vectors.check import check_vectors
from leafkit.vectors.cosine import row_cosines

# The least accepted cosine between a runtime's vector and the golden vector of the same file. float32 differs by
# rounding alone. In int8 a rounding at a boundary is a whole step, which another processor may take.
# A server may compute in half precision. With bge-small, float16 gives at least 0.99999 and bfloat16 0.9998, but 0.79
# without the query prompt and 0.956 if texts are truncated at half the limit.
SAME_FILE = {"float32": BOUNDS["float32"].least_cosine, "int8": 0.999}
SERVER = 0.999
# The least accepted cosine if the export records only vectors of another precision.
OTHER_FILE = BOUNDS["int8"].least_cosine


class NotInstalledError(Exception):
    """A runtime, or the file that it reads, is not here. The message says which."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The least cosine of a runtime's vectors to golden vectors of ``precision``, and the bound that it must reach."""

    least_cosine: float
    bound: float
    precision: str

    @property
    def agrees(self) -> bool:
        """Whether the least cosine reaches the bound."""
        return self.least_cosine >= self.bound


@dataclass(frozen=True, kw_only=True)
class GoldenVectors:
    """The golden texts of the exported student in ``folder``, with their roles and recorded vectors.

    prompts: what the student reads before the texts of each role.
    record: the export record that they come from.
    vectors: for each exported precision an array (texts, dim).
    """

    folder: Path
    space: Space
    prompts: Prompts
    record: ExportRecord
    texts: Sequence[str]
    roles: Sequence[Role]
    vectors: dict[str, Float32]

    @classmethod
    def read(cls, student: str | Path) -> GoldenVectors:
        """Read the golden vectors of ``student``, a folder or the name of a student that ships.

        Raises `InputError` for a folder that is not an exported student, and `DamageError` for a damaged one.
        """
        facts = read_student(student)
        record = ExportRecord.read(facts.path)
        try:
            texts = [str(golden["text"]) for golden in record.golden]
            roles: list[Role] = [check_role(golden["role"]) for golden in record.golden]
            vectors = {
                precision: check_vectors(
                    [golden[precision] for golden in record.golden],
                    rows=len(texts),
                    dim=facts.space.dim,
                    source=f"the golden {precision} vectors",
                )
                for precision in record.precisions
            }
        except (KeyError, TypeError, ValueError, OverflowError, InputError) as error:
            raise DamageError(
                f"{facts.path / RECORD} has an invalid golden text ({error!r}). Export the student again."
            ) from error
        return cls(
            folder=facts.path,
            space=facts.space,
            prompts=facts.prompts,
            record=record,
            texts=texts,
            roles=roles,
            vectors=vectors,
        )

    @property
    def advice(self) -> str:
        """The command that completes the folder of a student that ships without some of its files."""
        return f"`leafkit export {self.folder.name} --out FOLDER` writes a complete folder"

    def require(self, precision: str) -> None:
        """Raise `NotInstalledError` unless the exported file of ``precision`` is in the folder."""
        if not (self.folder / FILES[precision]).is_file():
            raise NotInstalledError(f"no {FILES[precision]} here; {self.advice}")

    def prompted(self) -> list[str]:
        """Return the texts with their prompts in front, as a runtime without prompts of its own needs them."""
        return [self.prompts[role] + text for text, role in zip(self.texts, self.roles, strict=True)]

    @property
    def prompts_by_hand(self) -> str:
        """How a user of a runtime without prompts applies those of the student, in words."""
        return "put before each text" if any(self.prompts.values()) else "none"

    def whole(self) -> list[int]:
        """Return the numbers of the texts that are not truncated."""
        with OpenFiles(self.folder, follow_links=True) as files:
            tokenizer = read_tokenizer(self.folder, files, self.record)
        with panics_as_errors():
            encodings = tokenizer.encode_batch(self.prompted())
        return [row for row, encoding in enumerate(encodings) if not encoding.overflowing]

    def compare(self, got: Float32, precision: str | None, rows: Sequence[int]) -> Comparison:
        """Compare the vectors ``got``, (len(rows), dim), of the golden texts ``rows`` with the recorded ones.

        precision: the precision of the file that the runtime read; None if only the runtime knows. The golden vectors
            that agree best are then taken.
        """
        known = [precision] if precision in self.vectors else list(self.vectors)
        least = {name: float(row_cosines(self.vectors[name][list(rows)], got).min()) for name in known}
        nearest = max(least, key=lambda name: least[name])
        bound = SERVER if precision is None else SAME_FILE[nearest] if nearest == precision else OTHER_FILE
        return Comparison(least_cosine=least[nearest], bound=bound, precision=nearest)
