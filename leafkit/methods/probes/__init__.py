"""Probes: what is watched during a training, without changing it."""
