"""The socket that `leafkit serve` listens on."""

from __future__ import annotations

import socket

from leafkit.serve.run import _listen


def test_an_accepted_connection_sends_the_body_without_waiting_for_an_acknowledgement():
    with _listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
