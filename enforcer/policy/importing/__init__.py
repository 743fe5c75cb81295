"""
The existing engine's files as ``enforcer/v1``, with a report of every rule.

Both of its forms: the structured one, which that engine evaluates, and ``conditions.match``, which its documents
describe and nothing evaluates. What cannot be said here is left out and told, never guessed.
"""

from enforcer.policy.importing.documents import Imported, import_source
from enforcer.policy.importing.report import Line, Status

__all__ = ["Imported", "Line", "Status", "import_source"]
