"""`leafkit.push`: upload a student to a repository of the Hugging Face hub."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import Annotated, Any, ClassVar

from leafkit.errors import InputError, OptionError, OutputError
from leafkit.extras import explain_missing_extras
from leafkit.options import Option, Options, options_of, takes
from leafkit.search.query_encoder import RECORD, ExportRecord
from leafkit.shipped import resolve_student
from leafkit.students.folder import MARKER, VERSION, StudentFacts, check_files, read_student

HUB = "hub:"
ADVICE = {
    401: "The token is not valid. Run `hf auth login`, or set HF_TOKEN.",
    402: "The account has reached its limits. See the billing page of the hub.",
    403: "The token may not write there. Use a token with write access, and an owner that is you or your organisation.",
    404: "There is no such repository, or the token cannot see it. Check owner and name.",
    409: "Another change is in progress. Run the command again.",
    413: "A file is too large for the hub.",
    429: "The hub limits the number of requests. Wait some minutes and run the command again.",
}

log = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class PushOptions(Options):
    """How a student is uploaded."""

    panel: ClassVar[str] = "Hub"

    private: Annotated[bool, Option("Make a new repository private.", flags=("--private",))] = False
    revision: Annotated[
        str | None, Option("Branch to upload to. A branch that does not exist is made.", none="main")
    ] = None


@takes(PushOptions)
def push(student: str | PathLike[str], to: str, **options: Any) -> str:
    """Upload the files of a student to the hub in one commit, and return the address of the repository.

    student: the student's folder. A student that ships without torch weights is refused; complete it with
        ``leafkit export NAME --out FOLDER`` and push the folder.
    to: ``hub:OWNER/NAME``. The repository is made if it does not exist.

    Only the student's own files are uploaded, after a check of their hashes: no other file that lies in the folder. The
    token is the one of ``hf auth login`` or of HF_TOKEN. Raises `InputError` for a folder that is no student, and
    `OutputError` with advice if the hub refuses or cannot be reached.
    """
    repository, chosen = _repository(to), options_of(PushOptions, options)
    facts = _complete_student(student)
    names = student_files(facts)
    with explain_missing_extras():
        from huggingface_hub import CommitOperationAdd, HfApi, get_token
    token = get_token()
    if token is None:
        raise OutputError("there is no token for the hub. Run `hf auth login`, or set HF_TOKEN.")
    api = HfApi(token=token, library_name="leafkit")
    with _explain_hub_errors(repository, token):
        url = str(api.create_repo(repository, private=chosen.private, exist_ok=True))
        if chosen.private and not api.model_info(repository).private:
            raise OutputError(
                f"{repository} exists and is public, so nothing was uploaded. Remove --private, or choose another name."
            )
        if chosen.revision is not None:
            api.create_branch(repository, branch=chosen.revision, exist_ok=True)
        files = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(facts.path / name)) for name in names]
        message = f"Upload a student of {facts.space.teacher} with leafkit"
        api.create_commit(repository, files, commit_message=message, revision=chosen.revision)
    log.info("%d files uploaded to %s", len(names), repository)
    return url


def student_files(facts: StudentFacts) -> list[str]:
    """Return the paths, below its folder, of the files that a student consists of; other files are not its own."""
    record = ExportRecord.read(facts.path) if (facts.path / RECORD).is_file() else None
    # These two have no hash, so that a link in their place could lead to any file of the user.
    texts = (facts.path / name for name in ("README.md", "LICENSE"))
    described = [file.name for file in texts if file.is_file() and not file.is_symlink()]
    names = {MARKER, *described, *facts.files, *((RECORD, *record.files) if record else ())}
    for name in names:
        if name.startswith("/") or ".." in name.split("/"):
            raise InputError(f"{facts.path} names a file outside itself, {name!r}. Distil or export the student again.")
    return sorted(names)


def _repository(to: str) -> str:
    """Return OWNER/NAME of ``hub:OWNER/NAME``; raise `OptionError` for anything else."""
    part = r"[A-Za-z0-9](?:[\w.-]{0,94}[\w])?"
    found = re.fullmatch(rf"{HUB}({part}/{part})", to, flags=re.ASCII)
    if found is None or "--" in to or ".." in to or to.endswith(".git"):
        raise OptionError(f"{to!r} is no repository of the hub. Write hub:OWNER/NAME.")
    return found[1]


def _complete_student(student: str | PathLike[str]) -> StudentFacts:
    """Read the student and check its hashes.

    Raises `InputError` for an index, for a student without weights and for one whose record does not list all files.
    """
    folder = resolve_student(student)
    if (folder / "manifest.json").is_file() and not (folder / MARKER).is_file():
        raise InputError(
            f"{folder} is an index or a store of vectors, which may hold your documents. leafkit push uploads "
            "students: give the student's folder."
        )
    facts = read_student(folder)
    if facts.runtime_only:
        raise InputError(
            f"{folder} has no torch weights, so most runtimes could not open what you upload. "
            f"Run `leafkit export {folder.name} --out FOLDER` and push FOLDER."
        )
    if facts.version < VERSION:
        raise InputError(
            f"{folder} was written by an earlier leafkit, which did not record all files of the student. "
            f"Run `leafkit export {folder.name} --out FOLDER` and push FOLDER."
        )
    check_files(facts)
    if (folder / RECORD).is_file():
        record = ExportRecord.read(folder)
        for name in record.files:
            record.check(folder, name)
    return facts


@contextmanager
def _explain_hub_errors(repository: str, token: str) -> Iterator[None]:
    """Turn any error of the hub's client into an `OutputError` with advice, without the ``token`` in its message."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except OutputError:
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code
        said = _printable(error.server_message or "", token)
        advice = ADVICE.get(status, "Run the command again later.")
        raise OutputError(
            f"the hub refuses to upload to {repository} (status {status}{f': {said}' if said else ''}). {advice}"
        ) from error
    except Exception as error:  # the network, the hub's client and its storage raise errors of many types
        said = _printable(str(error), token) or type(error).__name__
        raise OutputError(
            f"cannot upload to {repository}: {said}. Check the network, HF_ENDPOINT and HF_HUB_OFFLINE, and run the "
            "command again."
        ) from error


def _printable(text: str, token: str) -> str:
    """Return the beginning of ``text`` in one line, without the token and without control characters."""
    line = " ".join(text.replace(token, "***").split())
    return "".join(letter if letter.isprintable() else " " for letter in line)[:300].rstrip(". ")
