"""Types of command-line arguments that several commands of the laboratory share."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """Return ``text`` as a whole number of at least 1. A ``type`` of argparse."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"got {text!r}; expected a whole number of at least 1")
    return int(text)
