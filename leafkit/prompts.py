"""The prompts of an encoder: what it reads before each query and each document.

A `Space` keeps the prompts of the teacher, which are part of its identity. A student imitates the teacher's vectors of
prompted texts, but may read prompts of its own, which its leafkit.json records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leafkit.space import Space
from leafkit.types import ROLES, Role

Prompts = dict[Role, str]
"""The prompt of each role; empty for a role without one."""

# The most characters of a prompt of a student. The longest instructions of published models have about a thousand.
LONGEST = 1 << 12


def prompts_of(space: Space) -> Prompts:
    """Return the prompts that the teacher of ``space`` reads."""
    return {role: space.prompt(role) for role in ROLES}


def recorded_prompts(facts: Mapping[str, Any], space: Space) -> Prompts:
    """Return the prompts that ``facts``, the content of a leafkit.json, record for a student of ``space``.

    They are those of the teacher unless ``facts`` say otherwise. Raises ValueError unless they are one string for each
    role. Call this within `leafkit.files.json_file.explain_invalid`, which turns the error into a message for the user.
    """
    recorded = facts.get("prompts", prompts_of(space))
    if not isinstance(recorded, dict) or recorded.keys() != set(ROLES):
        raise ValueError(f"its prompts are {recorded!r:.80}; expected one for {' and one for '.join(ROLES)}")
    for role in ROLES:
        prompt = recorded[role]
        if not isinstance(prompt, str):
            raise ValueError(f"its {role} prompt is {prompt!r:.80}; expected a string")
        if len(prompt) > LONGEST:
            raise ValueError(f"its {role} prompt has {len(prompt)} characters; expected at most {LONGEST}")
        prompt.encode()  # raises UnicodeEncodeError, a ValueError, for half of a surrogate pair
    return {role: recorded[role] for role in ROLES}


def describe_prompts(prompts: Mapping[Role, str]) -> str:
    """Return ``prompts`` as words for people, such as ``query '[unused0]'``."""
    return ", ".join(f"{role} {prompt!r}" for role, prompt in prompts.items() if prompt) or "none"
