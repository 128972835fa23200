"""A teacher whose vectors are hashes of the texts."""

from tests.fixtures.filling_teacher import filling, hash_teacher

__all__ = ["filling", "hash_teacher"]
