"""Distillation methods: one file each, in the folder of the question that the method answers."""
