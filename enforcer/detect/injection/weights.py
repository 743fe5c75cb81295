"""
The weights of the signals, as data: docs/decisions/0010-injection-weights.md says how they came about.

A weight is how likely a text that shows the signal, and nothing else, is an attack. Signals join as
independent causes do: 1 - (1 - a)(1 - b)...; from ``ATTACK_AT`` on a text counts as an attack.
"""

from __future__ import annotations

ATTACK_AT = 0.5

# By signal: in a user's text, in retrieved text, in a tool's result. What a user may well ask for
# (a role, a format) has no business in a document that was fetched, nor has any order to the model.
WEIGHTS: dict[str, tuple[float, float, float]] = {
    "instruction_override": (0.75, 0.9, 0.9),
    "new_instructions": (0.4, 0.7, 0.7),
    "system_prompt": (0.7, 0.85, 0.85),
    "role_play": (0.2, 0.3, 0.3),
    "role_change": (0.3, 0.5, 0.5),
    "persona": (0.6, 0.6, 0.6),
    "jailbreak_name": (0.65, 0.65, 0.65),
    "jailbreak_word": (0.2, 0.2, 0.2),
    "unrestricted": (0.4, 0.4, 0.4),
    "policy_release": (0.4, 0.45, 0.45),
    "amoral": (0.3, 0.3, 0.3),
    "no_refusal": (0.35, 0.35, 0.35),
    "two_answers": (0.35, 0.35, 0.35),
    "stay_in_role": (0.3, 0.3, 0.3),
    "harm": (0.25, 0.25, 0.25),
    "template": (0.25, 0.25, 0.25),
    "fiction": (0.15, 0.15, 0.15),
    "delimiter": (0.5, 0.7, 0.7),
    "special_token": (0.3, 0.4, 0.4),
    "authority": (0.4, 0.6, 0.6),
    "exfiltration": (0.65, 0.85, 0.85),
    "tool_abuse": (0.6, 0.8, 0.8),
    "destruction": (0.4, 0.75, 0.75),
    "markdown_image": (0.6, 0.75, 0.75),
    "memory": (0.5, 0.7, 0.7),
    "other_tenant": (0.55, 0.7, 0.7),
    "hidden_comment": (0.35, 0.6, 0.6),
    "invisible_text": (0.3, 0.4, 0.4),
    "tag_characters": (0.9, 0.95, 0.95),
    "bidi_control": (0.4, 0.5, 0.5),
    "homoglyphs": (0.2, 0.3, 0.3),
    "encoded": (0.4, 0.5, 0.5),
    "truncated": (1.0, 1.0, 1.0),
}

ORIGINS = {"user": 0, "retrieved": 1, "tool": 2}

# What is left of the score of a text whose signals stand only in quotes, in sentences that speak
# about them and take none of them up.
MENTIONED = 0.2
# Outside the quotes no more than this may be left: a report names what it reports.
UNQUOTED_MAX = 0.25
