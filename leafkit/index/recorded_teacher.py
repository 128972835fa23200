"""The teacher that an index records, so that an update can open it again.

An index may come from a stranger. Its manifest may name a teacher, but never decides that code is run: whether a
model's own code is trusted is an argument of each call.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any, NamedTuple

from leafkit.errors import InputError, OptionError
from leafkit.files.json_file import explain_invalid
from leafkit.search.manifest import MANIFEST
from leafkit.search.package import Package, open_package, retry_during_update
from leafkit.shipped import resolve_student
from leafkit.space import require_same
from leafkit.teachers.options import TeacherOptions
from leafkit.teachers.same_space import RecordedSpace, open_in_space
from leafkit.types import Teacher

log = logging.getLogger("leafkit")

# The option that no manifest sets. Older indexes hold it among the recorded options.
_TRUST = "trust_remote_code"
# What belongs to one run, and not to the teacher.
_ONE_RUN = frozenset({"api_budget", "prices", "token_counter", "concurrency", "patience"})


class Advice(NamedTuple):
    """How messages tell a user to ``give`` another teacher, and to ``trust`` the code of a teacher."""

    give: str
    trust: str


_OPTIONS = Advice(
    "Give the teacher with --teacher (in Python: teacher=...).",
    "Add --trust-remote-code (in Python: trust_remote_code=True) if you trust this code.",
)
# For commands without these options, such as leafkit search.
_PYTHON = Advice(
    "Open the teacher in Python and pass it to Searcher.open.",
    "If you trust this code, open the teacher in Python, with trust_remote_code=True, and pass it to Searcher.open.",
)


def teacher_record(teacher: str | Path | Teacher, options: TeacherOptions) -> dict[str, Any] | None:
    """Return the name and options that open the same teacher again for an update; None if it was already open.

    ``remote_code`` says whether the teacher was opened with its own code. It is a fact for the message of an update,
    which does not act on it.
    """
    if not isinstance(teacher, str | Path):
        return None
    given = {option: getattr(options, option) for option in sorted(options.given() - {_TRUST} - _ONE_RUN)}
    if "teacher_space" in given:
        given["teacher_space"] = _absolute(given["teacher_space"])
    return {"argument": _absolute(teacher), "options": given, "remote_code": options.trust_remote_code}


def open_index_teacher(
    index: str | Path, teacher: str | Path | Teacher | None = None, options: TeacherOptions | None = None
) -> Teacher:
    """Open the teacher of the index at ``index``: ``teacher``, or by default the one that the index records.

    options: how to open it; None for a caller that offers its user no such options.

    Raises the errors of `recorded_teacher` and `leafkit.open_teacher`, and `SpaceError` for a teacher of another space.
    """
    package = retry_during_update(Path(index), lambda: open_package(index, verify=False))
    with package.files:
        advice = _PYTHON if options is None else _OPTIONS
        return open_teacher_of(package, teacher, options or TeacherOptions(), advice=advice)


def open_teacher_of(
    package: Package, teacher: str | Path | Teacher | None, given: TeacherOptions, *, advice: Advice = _OPTIONS
) -> Teacher:
    """Open ``teacher``, or by default the teacher that ``package`` records; see `open_index_teacher`.

    ``advice`` ends the messages about a teacher that cannot be opened.
    """
    space, owner = package.teacher_space, f"the index {package.folder}"
    options = given
    if teacher is None:
        teacher, options = recorded_teacher(package, given, advice=advice)
    recorded = RecordedSpace(owner=owner, space=space, fingerprint=package.fingerprint())
    opened = open_in_space(teacher, options, recorded)
    require_same(space, opened.space, expected_by=owner, got_from=f"the teacher {teacher}")
    return opened


def recorded_teacher(
    package: Package, given: TeacherOptions, *, advice: Advice = _OPTIONS
) -> tuple[str, TeacherOptions]:
    """Return the name of the teacher that the index was built with, and the recorded options overridden by ``given``.

    The teacher's name and place are logged, because the manifest chose them and not the user.
    Raises `OptionError` if the index records no teacher, or was built with the teacher's own code and ``given`` does
    not trust this code; `InputError` for a teacher inside the index folder; `DamageError` for an invalid record.
    """
    manifest = package.folder / MANIFEST
    with explain_invalid(manifest, expected="a manifest with a teacher", advice=advice.give):
        record = package.manifest.built.get("teacher")
        if record is None:
            raise OptionError(f"{package.folder} does not record the teacher it was built with. {advice.give}")
        name, options = str(record["argument"]), dict(record["options"])
        needs_code = bool(options.pop(_TRUST, False) or record.get("remote_code", False))
        # Options given now override recorded ones. An option that makes another space raises SpaceError later.
        recorded = TeacherOptions(**options)
        for source in filter(None, (name, recorded.teacher_space)):
            _check_outside(source, package.folder, advice)
        _check_server(name, advice)
    if needs_code and not given.trust_remote_code:
        raise OptionError(
            f"the index was built with --trust-remote-code: its teacher {name} runs code of its own. {advice.trust}"
        )
    log.info("the index names its teacher: opening %s", _place(name))
    return name, dataclasses.replace(recorded, **{option: getattr(given, option) for option in given.given()})


def _check_outside(name: str, folder: Path, advice: Advice) -> None:
    """Raise `InputError` if ``name`` is a path inside the index ``folder``, where only a stranger puts a teacher."""
    path, inside = resolve_student(name), folder.resolve()
    places = (path.resolve(), path.parent.resolve() / path.name)  # of the teacher, and of a link to it
    if path.exists() and any(inside in (place, *place.parents) for place in places):
        raise InputError(
            f"the index {folder} names a teacher inside its own folder: {path}. leafkit writes no such index. If you "
            f"trust this teacher, name it yourself. {advice.give}"
        )


def _check_server(name: str, advice: Advice) -> None:
    """Raise `InputError` for a teacher at an address: texts and a key would go wherever the index says."""
    if name.startswith("api:") and "://" in name:
        raise InputError(
            f"the index names a server as its teacher: {name}. It is not asked, because an index may come from a "
            f"stranger. If you trust this server, name it yourself. {advice.give}"
        )


def _place(name: str) -> str:
    """Return where the teacher ``name`` is opened from: an absolute path, or the name of a package or hub model."""
    path = resolve_student(name)
    return str(path.resolve()) if path.exists() else name


def _absolute(name: str | Path) -> str:
    """Make ``name`` absolute if it is a path: an update may be run from another folder."""
    return str(Path(name).resolve() if Path(name).exists() else name)
