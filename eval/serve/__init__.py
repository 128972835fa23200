"""Measure ``leafkit serve`` on the loopback: requests per second and latencies beside rivals, and a long load.

- `apps`: the apps that are compared, each in a process of its own.
- `load`: clients that ask as fast as they get answers, or at a given rate.
- `compare`, `soak`: the two commands of ``python -m eval.serve``.
"""
