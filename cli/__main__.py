"""``python -m leafkit.cli`` is ``leafkit``."""

from leafkit.cli import main

main()
