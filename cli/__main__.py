"""Run the command line as ``python -m leafkit.cli``."""

from leafkit.cli import main

main()
