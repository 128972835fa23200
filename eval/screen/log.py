"""The logger of the screen: one line for each finished run."""

from __future__ import annotations

import logging

LOG = logging.getLogger("leafkit.screen")
