from __future__ import annotations

import pytest

from leafkit.teachers.api import client
from leafkit.teachers.open import open_teacher
from tests.fixtures.api_server import ApiServer, serving


@pytest.fixture
def server(monkeypatch):
    """A server of all dialects. Delays between repetitions are short."""
    monkeypatch.setattr(client, "FIRST_DELAY", 0.005)
    with serving(ApiServer()) as running:
        yield running


@pytest.fixture
def teacher(server):
    """Open the server's model ``m`` with options; the OpenAI protocol unless a path or dialect is given."""
    return lambda path="/v1", kind="", **options: open_teacher(f"api:{kind}{server.url}{path}#m", **options)
