"""The JavaScript packages of the page: downloaded from npm once, checked against hashes that are written here."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from leafkit.errors import InputError
from leafkit.files.atomic import write_file
from leafkit.files.digest import sha256_file

_SECONDS = 600.0  # for 33 MB on a slow line
_MOST_BYTES = 1 << 26  # of one file; the largest has 14 MB


@dataclass(frozen=True, kw_only=True)
class NpmPackage:
    """A version of an npm package, and its files that a site needs.

    ``files`` maps a path in the package to the file's SHA-256 and its name in the folder ``vendor`` of the site.
    """

    name: str
    version: str
    files: Mapping[str, tuple[str, str]]


TOKENIZERS = NpmPackage(
    name="@huggingface/tokenizers",
    version="0.2.0",
    files={
        "dist/tokenizers.min.mjs": (
            "258e46332101335ce8d95aed7745b19ac3b46d37f3e159a89cf894c2ea9b1d3a",
            "tokenizers.js",
        ),
        "LICENSE": ("c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4", "tokenizers-license.txt"),
    },
)
ONNXRUNTIME = NpmPackage(
    name="onnxruntime-web",
    version="1.30.0",
    files={
        "dist/ort.wasm.bundle.min.mjs": (
            "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
            "onnxruntime.js",
        ),
        "dist/ort-wasm-simd-threaded.wasm": (
            "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
            "onnxruntime.wasm",
        ),
    },
)


def copy_package(package: NpmPackage, cache: Path, to: Path) -> None:
    """Copy the files of ``package`` into the folder ``to``, under the names that the page imports.

    They are kept in the folder ``npm`` of ``cache``, so npm is asked only once. Raises `InputError` if npm is missing
    or fails, and for a file that differs from the one that this version of leafkit was tested with.
    """
    kept = cache / "npm" / f"{package.name.replace('/', '-').removeprefix('@')}-{package.version}"
    if not all(_is_kept(kept / name, sha256) for sha256, name in package.files.values()):
        _download(package, kept)
    to.mkdir(exist_ok=True)
    for _, name in package.files.values():
        shutil.copyfile(kept / name, to / name)


def _is_kept(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_file(path) == sha256


def _download(package: NpmPackage, kept: Path) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        archive = _pack(package, Path(folder))
        for path, (sha256, name) in package.files.items():
            content = _member(archive, f"package/{path}")
            found = hashlib.sha256(content).hexdigest()
            if found != sha256:
                raise InputError(
                    f"npm delivers another {path} of {package.name} {package.version} than leafkit was tested with: "
                    f"its SHA-256 is {found}, expected {sha256}. Check the npm registry that is configured here."
                )
            write_file(kept / name, content)


def _pack(package: NpmPackage, folder: Path) -> Path:
    """Let npm download the archive of ``package`` into ``folder``, and return its path."""
    wanted = f"{package.name}@{package.version}"
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(
            f"a site contains {wanted} from npm, but npm is not installed. Install Node.js, or copy the folder "
            f"{folder.parent} from a machine that built a site."
        )
    # Nothing of the package is run: pack only downloads it. Run in an empty folder, npm reads no settings of a project.
    command = [npm, "pack", wanted, "--ignore-scripts", "--silent"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"npm did not download {wanted} within {_SECONDS:g} seconds. Try again.") from error
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        said = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise InputError(
            f"npm cannot download {wanted}: {said or f'it ends with code {done.returncode}'}. Check the network, or "
            f"copy the folder {folder.parent} from a machine that built a site."
        )
    return archives[0]


def _member(archive: Path, name: str) -> bytes:
    """Return the content of the file ``name`` in ``archive``; nothing is unpacked to disk, and no link is followed."""
    try:
        with tarfile.open(archive) as opened:
            member = opened.getmember(name)
            file = opened.extractfile(member) if member.isreg() and member.size <= _MOST_BYTES else None
            if file is None:
                raise KeyError(f"it is no regular file of at most {_MOST_BYTES} bytes")
            return file.read()
    except (KeyError, tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{archive.name} from npm has no file {name} ({error}). Download it again.") from error
