"""Studies: variants of one base recipe, trained with several seeds, each compared with the base.

``python -m eval.studies TABLE.toml --out RESULT.json`` runs one. The tables are in this folder. A table has::

    seeds = [0, 1, 2]
    [texts]                  # files and valid; how many queries and documents to take, and their greatest length
    [base]                   # teacher, student and any option of leafkit.distill
    [measure]                # data: BEIR folders; split; modes
    [variants.NAME]          # what differs from the base

Running, caching and statistics are those of `leafkit.evaluation.compare`. This package adds tables, other trainers and
variants that train as long as the base.
"""
