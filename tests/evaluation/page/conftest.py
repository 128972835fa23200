"""Reports to make pages of."""

from tests.fixtures.reports import add_curves, hostile, make, report

__all__ = ["add_curves", "hostile", "make", "report"]
