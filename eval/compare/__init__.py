"""Recipes against a baseline on one downstream task: each trained once per seed, with an interval of the difference.

`leafkit.eval.compare.run.compare` is the whole of it, ``leafkit compare`` its command line. An ablation of one base
(`leafkit.eval.experiments`) asks what changes the student; this asks whether a recipe is worth its trouble to a user.
"""
