"""Tables of ablations: variants of one base recipe over several seeds, each difference with its interval.

``python -m eval.experiments TABLE.toml --out RESULT.json`` runs one; the tables lie here. A table has::

    seeds = [0, 1, 2]
    [texts]                  # files, valid; the first so many queries and documents, none longer than so many letters
    [base]                   # teacher, student and any argument of leafkit.distill
    [measure]                # data: BEIR folders; split; modes
    [variants.NAME]          # what differs from the base
"""
