"""What a finished training was worth, in words, and the commands that use its student."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leafkit.students.held_out import FEWEST_TEXTS, overlap_text
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.source import split_prefix
from leafkit.vectors.vectors_file import is_vectors_file


@dataclass(frozen=True)
class Band:
    """The students that were measured with a held-out cosine of at least ``cosine``, and below the band above.

    ``low`` and ``high`` are the smallest and the largest retention among them: the student's nDCG@10 divided by its
    teacher's, in asymmetric mode.
    """

    cosine: float
    low: float
    high: float
    words: str


BANDS = (
    Band(0.97, 0.961, 0.976, "very close to its teacher"),
    Band(0.93, 0.928, 0.975, "close to its teacher"),
    Band(0.90, 0.868, 0.964, "some way from its teacher"),
    Band(0.85, 0.750, 0.928, "far from its teacher"),
    Band(-1.0, 0.0, 0.917, "so far from its teacher that the cosine does not say how well it searches"),
)
"""Measured with two teachers on up to six collections; docs/distil.md has the table. The relation is loose: at a cosine
of 0.85, students of different teachers kept 75 and 93 %."""


def verdict(training: Mapping[str, Any]) -> str:
    """Return what the held-out figures of the finished ``training`` mean; the entry of that name in leafkit.json."""
    start, best, texts = training["start"], training["best"], training["data"]["validation"]
    if texts < FEWEST_TEXTS:
        return (
            f"verdict: {texts:,} held-out text{'s' * (texts != 1)} are too few to judge the student, "
            f"{FEWEST_TEXTS} needed. Train on more texts, or give held-out texts with --valid."
        )
    gain = f"{start['cosine_mean']:.3f} before training" if best["step"] else "that of the start: no step was nearer"
    cosine = best["cosine_mean"]
    place = next(place for place, band in enumerate(BANDS) if cosine >= band.cosine)
    band = BANDS[place]
    return (
        f"verdict: {band.words}. On {texts:,} held-out texts its cosine is {cosine:.3f} ({gain}) and its overlap@10 "
        f"{overlap_text(best['overlap_at_10'], texts)}. In our measurements, students with a cosine {_range(place)} "
        f"kept {band.low:.0%} to {band.high:.0%} of their teacher's nDCG@10."
    )


def _range(place: int) -> str:
    """Return the cosines of the band at ``place`` in words."""
    if place == 0:
        return f"of {BANDS[0].cosine:.2f} or more"
    above = BANDS[place - 1].cosine
    return f"below {above:.2f}" if BANDS[place].cosine < 0 else f"of {BANDS[place].cosine:.2f} to {above:.2f}"


def next_commands(texts: Sequence[str], teacher: str, out: Path, options: TeacherOptions, *, exported: bool) -> str:
    """Return the commands that measure the student ``out`` and index documents for it.

    texts: the sources that the student was trained on; its documents are those to index.
    teacher, options: the teacher as it was given, and the options it was opened with.
    exported: whether the student has ONNX files, which an index needs.
    """
    of_teacher = ["--teacher", teacher, *_flags(options), "--student", str(out)]
    documents = [name for prefix, name in map(split_prefix, texts) if prefix in ("", "document")] or ["DOCUMENTS"]
    commands = [] if exported else [["export", str(out)]]
    # A vectors file has no vectors for the texts of a test collection.
    if not is_vectors_file(Path(teacher)):
        commands.append(["evaluate", "--data", "JUDGED-QUERIES", *of_teacher])
    commands.append(["index", *documents, *of_teacher, "--out", f"{out}.index"])
    lines = [f"  leafkit {shlex.join(command)}" for command in commands]
    if not is_vectors_file(Path(teacher)):
        lines.append("JUDGED-QUERIES is a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv.")
    return "\n".join(["next, measure the student on your own queries and index documents for it:", *lines])


def _flags(options: TeacherOptions) -> Iterable[str]:
    """Yield the options of the command line that were given for the teacher."""
    for name in sorted(options.given()):
        value = getattr(options, name)
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            yield flag if value else "--unnormalised"
        else:
            yield from (flag, str(value))
