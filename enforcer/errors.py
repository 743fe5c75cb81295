"""
What can go wrong, grouped by who has to act.

* EnforcerError
  + PolicyError        the policy author: fix the source
  + RequestError       the caller: fix the request or wait; becomes a denial with its code
    - CostExceedsBurstError
  + OperatorError      the operator: fix the installation, then start again
    - ConfigError      a setting is wrong                              exit 2
    - NotFoundError    a name that does not exist                      exit 5
    - ConflictError    somebody else was first                         exit 6
    - AuthError        refused by the broker                           exit 7
    - UnavailableError a server, a port, a disk, the network           exit 8
    - IntegrityError   what is stored is not what was written          exit 9
  + AgentError         the runtime, by itself
    - AgentFencedError     another owner took the partition: stop
    - AgentCorruptedError  rows or position cannot be trusted: wipe and restore

A bug is none of these: it is an ``assert``, and it stops the process.

Every error carries a stable ``code`` (logged, and a heading in docs/errors.md), a message that says what is
wrong in lower case, and ``help``: what to do next. Neither ever holds prompt text or a secret.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a source: file (or ``<stdin>``), line and column, both from 1."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """``file:line:column``, as editors and CI systems recognise it."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class EnforcerError(Exception):
    """Anything that Enforcer raises on purpose."""

    code = "error"
    exit_code = 1

    def __init__(self, message: str, *, help: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        if code is not None:
            self.code = code


class PolicyError(EnforcerError):
    """The author must change the source. Collected in batches by the checker."""

    code = "policy"
    exit_code = 3

    def __init__(
        self, message: str, *, span: Span | None = None, help: str = "", code: str | None = None
    ) -> None:
        super().__init__(message, help=help, code=code)
        self.span = span or Span()


class RequestError(EnforcerError):
    """The caller must change the request, or wait. The engine turns it into a denial with this code."""

    code = "invalid_request"
    exit_code = 2

    def __init__(
        self, message: str, *, place: str = "", help: str = "", code: str | None = None
    ) -> None:
        super().__init__(message, help=help, code=code)
        self.place = place


class CostExceedsBurstError(RequestError):
    """No wait is long enough: the cost is above the bucket's burst."""

    code = "exceeds_burst"


class OperatorError(EnforcerError):
    """The operator must change the installation."""

    code = "operator"


class ConfigError(OperatorError):
    """A setting is wrong."""

    code = "config"
    exit_code = 2


class NotFoundError(OperatorError):
    """A name that does not exist."""

    code = "not_found"
    exit_code = 5


class ConflictError(OperatorError):
    """Somebody else was first."""

    code = "conflict"
    exit_code = 6


class AuthError(OperatorError):
    """The broker refused the principal."""

    code = "auth"
    exit_code = 7


class UnavailableError(OperatorError):
    """A server, a port, a disk or the network is not there."""

    code = "unavailable"
    exit_code = 8


class IntegrityError(OperatorError):
    """What is stored is not what was written."""

    code = "integrity"
    exit_code = 9


class AgentError(EnforcerError):
    """The runtime acts by itself: the agent ends and is started again, or its partition has moved."""

    code = "agent"


class AgentFencedError(AgentError):
    """Another owner has taken the partition over. This agent must not write another byte."""

    code = "agent_fenced"


class AgentCorruptedError(AgentError):
    """Rows or position cannot be trusted. The table is wiped and restored from the changelog."""

    code = "agent_corrupted"
