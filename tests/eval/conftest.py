"""A small collection in BEIR layout, and students for it."""

from tests.fixtures.collections import beir_folder, exact_student, noisy_student, other_beir_folder

__all__ = ["beir_folder", "exact_student", "noisy_student", "other_beir_folder"]
