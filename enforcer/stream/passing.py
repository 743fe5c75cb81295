"""What of an input record goes on to what it leads to: its key, its trace and the name of its gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from enforcer.broker.ports import Record

Trace = tuple[tuple[str, bytes], ...]

HEADER_BYTES_MAX: Final = 512
"""Of a header that is copied on. A longer one is the sender's mistake, and must not make a verdict too large."""
KEY_BYTES_MAX: Final = 2_048
"""Of a record key that is copied on. The account's own key is far shorter; any other is misrouted."""


def key_of(account: str) -> bytes | None:
    """The key of a record of *account*; none where it is too long for one."""
    key = account.encode("utf-8", "surrogatepass")
    return key if len(key) <= KEY_BYTES_MAX else None


def headers_of(record: Record) -> tuple[Trace, Trace]:
    """What goes on to the audit record (the trace) and to the decision (the trace and the gateway)."""
    headers = record.headers
    if not headers:
        return (), ()
    trace: Trace = ()
    gateway: Trace = ()
    for header in headers:
        name, value = header
        if value is None or len(value) > HEADER_BYTES_MAX:
            continue
        if name == "traceparent":
            trace = trace or (header,)
        elif name == "gateway":
            gateway = gateway or (header,)
    return trace, trace + gateway


class FutureSaid:
    """Says once, loudly, that a record's time is in the future."""

    __slots__ = ("_log", "_offset")

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._offset = -1

    def say(self, record: Record, now_ms: int) -> None:
        """*record* is the one that is waited for at *now_ms*."""
        if record.offset == self._offset:
            return
        self._offset = record.offset
        ahead_ms = record.timestamp - now_ms
        self._log.error(
            "record_from_the_future", topic=record.topic, offset=record.offset, ms=ahead_ms
        )
