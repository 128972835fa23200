"""The screen (T1): every distillation method in one setting, with every figure, against the baselines that it needs.

``python -m eval.screen run`` trains and measures, ``python -m eval.screen report`` writes the result files and pages.

    texts.py         the sets of training texts: plain, with labels, with pairs, and more of the plain ones
    benchmark.py     the test data, small enough that measuring a student costs no more than training it
    figures.py       every figure of a student, as scores by item
    systems.toml     for each method: its texts, fixed fields, doses and control arms (read by systems.py)
    study.py         one training as a run of `leafkit.evaluation.compare.study`
    pull.py          how hard a method pulls on the student, relative to LEAF; doses are pulls
    stages.py        which runs are needed: doses, the screen itself, and LEAF's curve over texts
    statistics.py    intervals over seeds and items, Holm's correction, verdicts
    report.py        the result files, leafkit/methods/verdicts/NAME.json
    which_method.py  docs/which-method.md, "Which one should I turn on?"
"""
