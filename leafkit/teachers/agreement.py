"""Ask teachers of every kind for the texts of a fingerprint."""

from __future__ import annotations

from collections.abc import Sequence

from leafkit.teachers.in_order import InOrderTeacher
from leafkit.teachers.vectors_file import VectorsFileTeacher
from leafkit.types import ROLES, Role, Teacher
from leafkit.vectors.adopted import AdoptedTeacher
from leafkit.vectors.cached import CachedEncoder
from leafkit.vectors.fingerprint import Agreement, Fingerprint, take_fingerprint
from leafkit.vectors.golden_texts import GOLDEN, askable
from leafkit.vectors.store import is_exact

_FILES = (VectorsFileTeacher, InOrderTeacher)


def agreement_with(fingerprint: Fingerprint, teacher: Teacher) -> Agreement | None:
    """Ask ``teacher`` for the texts of ``fingerprint`` and compare; None if it cannot be asked for enough of them."""
    if teacher.space.dim != fingerprint.space.dim:
        return None
    texts = _texts_to_ask(fingerprint.texts, teacher)
    return fingerprint.agreement(take_fingerprint(teacher, texts)) if texts else None


def fingerprint_of(teacher: Teacher) -> Fingerprint | None:
    """Return the fingerprint of the space of ``teacher``, to be stored with what is made of its vectors.

    The fingerprint holds the golden texts, or a sample of its own texts for a vectors file. None for a teacher that
    cannot be asked, such as a student, whose vectors only approximate those of the space.
    """
    if isinstance(teacher, CachedEncoder):
        return _cached_fingerprint(teacher)
    if not is_exact(teacher):
        return None
    if isinstance(teacher, AdoptedTeacher):
        return teacher.fingerprint
    if "online" in teacher.signals:
        return take_fingerprint(teacher, askable(GOLDEN, teacher))
    texts = teacher.sample_texts() if isinstance(teacher, _FILES) else ()
    return take_fingerprint(teacher, texts) if texts else None


def _cached_fingerprint(encoder: CachedEncoder) -> Fingerprint | None:
    """Return what the teacher behind the cache writes for the golden texts, which are encoded only once as well."""
    if isinstance(encoder.teacher, AdoptedTeacher):
        return encoder.teacher.fingerprint
    golden = askable(GOLDEN, encoder.teacher)
    texts, roles = [text for text, _ in golden], list[Role](role for _, role in golden)
    encoder.store.fill(encoder.teacher, texts, roles, label="fingerprint")
    return take_fingerprint(encoder, golden)


def _texts_to_ask(texts: Sequence[tuple[str, Role]], teacher: Teacher) -> list[tuple[str, Role]]:
    """Return those ``texts`` that ``teacher`` can encode: all of them, or the rows of a vectors file."""
    if "online" in teacher.signals:
        return askable(texts, teacher)
    if not isinstance(teacher, _FILES):
        return []
    held = {role: teacher.holds([text for text, _ in texts], role) for role in ROLES}
    return [(text, role) for row, (text, role) in enumerate(texts) if held[role][row]]
