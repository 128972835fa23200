"""Distillation systems: one file each, in the folder of the question it answers."""
