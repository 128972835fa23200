"""Coverage: which ways of distilling a language model the methods cover, and which ones none of them covers.

The categories are those of a survey of the distillation of large language models. Each method states its own in the
class attributes ``elicits``, ``learns_by``, ``skills`` and ``verticals`` (`leafkit.methods.method.Method`). A method
can stand in several cells. A method that states no category, such as a probe, stands outside the table.

Paper: https://arxiv.org/abs/2402.13116
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leafkit.methods.registry import method_class, method_folders

if TYPE_CHECKING:
    from leafkit.methods.method import Method

ELICITATIONS = {
    "labeling": "the teacher gives its output for a given text",
    "expansion": "the teacher writes new texts like the given ones",
    "curation": "the training texts are filtered or condensed",
    "feature": "the student sees vectors or states inside the teacher",
    "feedback": "the teacher judges what the student does, which decides what comes next",
    "self-knowledge": "the student learns from its own earlier outputs",
}
"""Knowledge elicitation: how knowledge is got out of the teacher, and what that means for an embedding model."""

ALGORITHMS = {
    "supervised fine-tuning": "cross-entropy with a class or a label",
    "divergence and similarity": "a distance between vectors or between distributions",
    "reinforcement learning": "a reward",
    "rank optimization": "an order of texts",
}
"""Distillation algorithms: how the student learns what was elicited."""

SKILLS = {
    "context following": ("instruction following", "multi-turn dialogue", "retrieval-augmented generation"),
    "alignment": ("thinking pattern", "preference", "value"),
    "agent": ("tool using", "planning"),
    "NLP task specialization": (
        "understanding",
        "generation",
        "information retrieval",
        "recommendation",
        "text generation evaluation",
        "code",
    ),
    "multi-modality": ("vision-language",),
}
"""Skills: what the student becomes better at, by group. For embeddings, understanding is classes and similarity."""

VERTICALS = ("law", "medicine", "finance", "science", "misc")
"""The fields for which a method can be made."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The methods in each category, by name, in the order of the registry.

    ``cells`` has an entry for each pair of an elicitation and an algorithm. ``skills`` and ``verticals`` have one for
    each skill and field. ``outside`` are the methods that state no elicitation or no algorithm.
    """

    cells: Mapping[tuple[str, str], tuple[str, ...]]
    skills: Mapping[str, tuple[str, ...]]
    verticals: Mapping[str, tuple[str, ...]]
    outside: tuple[str, ...]

    @property
    def gaps(self) -> dict[str, tuple[str, ...]]:
        """The elicitations, algorithms, skills and verticals that no method covers."""
        used = [pair for pair, names in self.cells.items() if names]
        return {
            "elicitation": tuple(one for one in ELICITATIONS if one not in {pair[0] for pair in used}),
            "algorithm": tuple(one for one in ALGORITHMS if one not in {pair[1] for pair in used}),
            "skill": tuple(skill for skill, names in self.skills.items() if not names),
            "vertical": tuple(field for field, names in self.verticals.items() if not names),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the coverage as JSON: every cell, the empty ones included, and the gaps."""
        return {
            "paper": "https://arxiv.org/abs/2402.13116",
            "cells": [
                {"elicitation": elicitation, "algorithm": algorithm, "methods": list(names)}
                for (elicitation, algorithm), names in self.cells.items()
            ],
            "skills": {skill: list(names) for skill, names in self.skills.items()},
            "verticals": {field: list(names) for field, names in self.verticals.items()},
            "outside": list(self.outside),
            "gaps": {part: list(names) for part, names in self.gaps.items()},
        }


def coverage(methods: Mapping[str, type[Method]] | None = None) -> Coverage:
    """Return the coverage of ``methods``, by default all installed ones."""
    if methods is None:
        methods = {name: method_class(name) for name in method_folders()}

    def named(part: str, category: str) -> tuple[str, ...]:
        return tuple(name for name, cls in methods.items() if category in getattr(cls, part))

    return Coverage(
        cells={
            (elicitation, algorithm): tuple(
                name for name in named("elicits", elicitation) if algorithm in methods[name].learns_by
            )
            for elicitation in ELICITATIONS
            for algorithm in ALGORITHMS
        },
        skills={skill: named("skills", skill) for group in SKILLS.values() for skill in group},
        verticals={field: named("verticals", field) for field in VERTICALS},
        outside=tuple(name for name, cls in methods.items() if not (cls.elicits and cls.learns_by)),
    )
