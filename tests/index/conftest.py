"""Small index packages."""

from tests.fixtures.packages import ids, make, space, vectors

__all__ = ["ids", "make", "space", "vectors"]
