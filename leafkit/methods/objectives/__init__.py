"""Objectives: what the student imitates and how the distance is measured."""
