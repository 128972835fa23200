"""Tests of mechanism (T0): whether each method does what its paper says when the paper's premise is planted.

``eval/mechanism/NAME.py`` plants the premise of the method NAME. A perceptron on cached features of real texts learns
in seconds, and the method competes with the control that its reviewers would ask for. Each module has

    CLAIM    what the paper says, in one sentence
    PREMISE  what is planted
    CONTROL  the arm that would show that the effect has another cause
    FIGURE   what is compared; higher is better
    ARMS     the names of the arms: the method, the control that it must beat, and others for the record
    measure  a function of a `eval.mechanism.lab.Lab` and a seed that returns the figure of each arm

``python -m eval.mechanism NAME`` measures one method (`eval.mechanism.__main__`).
"""
