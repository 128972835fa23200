"""What the slow tests of sites run: a headless browser without a network, a plain web server, and the real npm."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leafkit.errors import InputError

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 240
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-first-run",
    "--remote-debugging-port=0",  # keeps it open until it is ended
)


def need_browser() -> str:
    """The path of a browser; skips where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")


@contextlib.contextmanager
def real_npm() -> Iterator[Path]:
    """A cache for the packages of a site, which npm downloads once on a machine; skips where npm cannot."""
    try:
        yield Path.home() / ".cache" / "leafkit"
    except InputError as error:
        if "npm is not installed" in str(error) or "npm cannot download" in str(error):
            pytest.skip(str(error))
        raise


class _Handler(http.server.SimpleHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        self.server.asked.append(self.path)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Any]:
    """A server of the files in ``folder``, with ``url``, the paths ``asked`` for, and the ``reports`` it received."""
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
    server.asked, server.reports = [], queue.Queue()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def report_of(browser: str, server: Any, page: str, profile: Path, *, width: int = 1000) -> tuple[Any, list[str]]:
    """What the page at the path ``page`` posts to /report, and the lines on the browser's console."""
    command = [browser, *OPTIONS, f"--user-data-dir={profile}", f"--window-size={width},900", server.url + page]
    with open(profile.with_suffix(".log"), "w+b") as log:
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        try:
            report = server.reports.get(timeout=SECONDS)
        finally:
            running.terminate()
            running.wait()
        log.seek(0)
        console = [line for line in log.read().decode("utf-8", "replace").splitlines() if "CONSOLE" in line]
    return report, console
