"""``python -m leafkit.cli`` is ``leafkit``."""

from . import main

main()
