"""Comparison of recipes with a baseline on one task: each is trained once per seed, and differences have intervals.

`leafkit.evaluation.compare.run.compare` is the whole comparison and ``leafkit compare`` its command.
`leafkit.evaluation.compare.study` is the harness below it, which other studies can use.
"""
