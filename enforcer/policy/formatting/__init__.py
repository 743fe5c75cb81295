"""
One layout for policies and their tests: what people align by hand, a machine aligns for all.

``formatted`` keeps data, comments, the choice between ``{a: b}`` and lines, and single blank lines; it settles
indentation, the order of the language's own keys, quotes, and lines that are too long. Expressions stay as
written: a printed syntax tree would lose their comments and line breaks, which are their author's.
"""

from enforcer.policy.formatting.layout import LayoutError
from enforcer.policy.formatting.text import formatted

__all__ = ["LayoutError", "formatted"]
