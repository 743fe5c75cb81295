"""The bounds of an expression and of what it may build. Beyond the first four: LimitError."""

from __future__ import annotations

from typing import Final

TEXT_CHARACTERS_MAX: Final = 262_144
"""The length of an expression, in code points."""

PARENTHESES_MAX: Final = 256
"""How deep brackets of any kind may nest in the text."""

DEPTH_MAX: Final = 128
"""How deep the tree may be. A chain of one precedence (``a && b && …``, ``a + b - …``) counts once."""

NODES_MAX: Final = 20_000
"""How many nodes the tree may have."""

ISSUES_MAX: Final = 100
"""How many issues a check reports."""

TEXT_LENGTH_MAX: Final = 16 * 1024 * 1024
"""The longest string or bytes that an expression may build."""

LIST_LENGTH_MAX: Final = 1_000_000
"""The longest list that ``+``, ``lists.range`` or ``flatten`` may build."""

FORMAT_PRECISION_MAX: Final = 1_000
"""The largest precision in ``format``."""

STEPS_MAX: Final = 10_000_000
"""How many steps macros within macros may make in one evaluation."""

VALUE_DEPTH_MAX: Final = 100
"""How deep a value from outside may nest."""
