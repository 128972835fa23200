"""Listen with uvicorn: ``leafkit serve``."""

from __future__ import annotations

import logging
import resource
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leafkit.errors import OptionError
from leafkit.extras import explain_missing_extras
from leafkit.options import options_of, takes
from leafkit.options import without as other_than
from leafkit.serve.application import app
from leafkit.serve.indexes import OpenTeacher
from leafkit.serve.options import ListenOptions, ServeOptions

BACKLOG = 2048  # connections that wait to be accepted
# Seconds that an idle connection stays open: longer than load balancers keep theirs, which is usually 60. A connection
# that the server closes while a request is on its way would lose that request.
KEEP_ALIVE = 75

log = logging.getLogger("leafkit")


@takes(ListenOptions, ServeOptions)
def serve(
    indexes: Sequence[str | Path],
    *,
    encoder: str | Path | None = None,
    teacher: OpenTeacher | None = None,
    verify: bool = True,
    **options: Any,
) -> None:
    """Serve ``indexes`` until Ctrl-C or SIGTERM, after which requests in progress are still answered.

    indexes, encoder, teacher, verify: see `leafkit.serve.app`.

    Raises the errors of `leafkit.serve.app`, and `OptionError` for an address that cannot be listened on.
    """
    with explain_missing_extras():
        import uvicorn
    where = options_of(ListenOptions, options)
    # First the address: opening large indexes takes long, and they would be opened in vain.
    with _listen(where.host, where.port) as listening:
        passed = other_than(ListenOptions, options)
        application: Any = app(indexes, encoder=encoder, teacher=teacher, verify=verify, **passed)
        _allow_many_connections()
        host, port = listening.getsockname()[:2]
        log.info("serving on http://%s:%d (stop with Ctrl-C)", f"[{host}]" if ":" in host else host, port)
        config = uvicorn.Config(
            application,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=where.grace,
        )
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
        # Accepted connections inherit it. asyncio sets it itself only on sockets that were made with a protocol number.
        # Without it, the body of each answer waits up to 40 ms until the client has acknowledged the headers.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise OptionError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}. Choose another --host or --port."
        ) from error


def _allow_many_connections() -> None:
    """Let this process open as many files as its user may: a connection is one, and the usual limit is 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError):  # macOS has a lower limit than it says
        log.debug("the limit on open files stays as it is")
