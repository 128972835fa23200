"""Comparison of recipes with a baseline on one task: each is trained once per seed, and differences have intervals.

`leafkit.evaluation.compare.run.compare` runs the comparison, and ``leafkit compare`` is its command.
`leafkit.evaluation.compare.study` is the harness below it, which other studies can use.
"""
