"""Recipes against a baseline on one downstream task: each trained once per seed, with an interval of the difference.

`leafkit.evaluation.compare.run.compare` does all of it; ``leafkit compare`` is its command line.
"""
