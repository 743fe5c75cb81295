"""
The policy table: every set in force, whole, and the programs compiled from it.

A set comes into force when its record has been read and every document it names is there: one record, so
there is no half of it. Agents ask for a program between two events and never while deciding one.

Before and after a restart must be alike, and a restart knows only what a compacted topic still holds. Hence:

* A record that does not check denies its scope's requests (``policy_invalid``); what was in force before is not
  kept.
* A set whose documents have not come leaves the one before it in force, as long as that one is known; where
  none is, its scope is denied.
* A set in force that loses a document, by a tombstone or a record that does not check, is invalid at once.

A thousand policies take seconds to read and to compile, and a decision must not wait for them: a record is taken in
by steps (``PolicyTable.steps``), and the follower lets the agents run after every ``SLICE_MS`` of them; in a long
change it leaves them ``PAUSE_MS``, for a decision takes several turns of the loop. What is in
force and the table's offset change together, at the last step: until then agents decide under the set before, and
say so.

Where policies are signed (``policy.trust``), a record that is not believed never comes to the table.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
import structlog

from enforcer import events, policy
from enforcer.errors import EnforcerError
from enforcer.stream.policy_history import read_history

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.broker.ports import Broker, Reader, Record
    from enforcer.policy.trust import Refusal, Trust

GLOBAL: Final = "*"
PROGRAMS_MAX: Final = 10_000
"""Composed programs kept: one a tenant, and tenants nobody knows are made up by callers."""

SLICE_MS: Final = 1.0
"""Of work on policies between two turns of the agents; one step, which is the check or a function of one policy, may
be longer."""

PAUSE_MS: Final = 2.0
"""Between two slices of a long change: a decision passes through several turns of the loop, and would wait for a slice
at each."""

PAUSES_FROM_MS: Final = 10.0
"""Of work without a pause: an ordinary change is done at once."""

WATCH_S: Final = 1.0
WATCH_TIMEOUT_S: Final = 5.0

_log = structlog.get_logger("enforcer.policies")


@dataclass(frozen=True, slots=True)
class SetInForce:
    """What a scope runs under since *offset*: a program, or why there is none."""

    scope: str
    digest: str
    offset: int
    program: policy.ScopeProgram | None
    invalid: str = ""

    def payload(self) -> bytes:
        """The change as the ledger holds it: JSON."""
        change = {"scope": self.scope, "digest": self.digest, "policy_offset": self.offset}
        return orjson.dumps(change | ({"invalid": self.invalid} if self.invalid else {}))


class PolicyTable:
    """Fed with the policy topic's records in order. ``offset`` is the next one's."""

    __slots__ = ("_documents", "_in_force", "_named", "_pending", "_programs", "_removed", "offset")

    def __init__(self) -> None:
        self.offset = 0
        self._documents: dict[tuple[str, str], policy.Document | None] = {}
        self._pending: dict[str, events.PolicySet] = {}
        self._named: dict[str, events.PolicySet] = {}
        """The record of the set in force, or of the invalid one in its place."""
        self._in_force: dict[str, SetInForce] = {}
        self._removed: dict[str, SetInForce] = {}
        self._programs: dict[str, policy.TenantProgram] = {}

    def apply(self, offset: int, key: bytes | None, value: bytes | None) -> list[SetInForce]:
        """
        Take one record in, at once.

        Returns: The sets that came into force by it, usually none or one.
        """
        return policy.finish(self.steps(offset, key, value))

    def steps(
        self, offset: int, key: bytes | None, value: bytes | None
    ) -> policy.Steps[list[SetInForce]]:
        """Take one record in, by steps, to the end and before the next one; its effect is that of the last step."""
        changes = yield from self._changes(offset, key, value)
        self.offset = offset + 1
        for change in changes:
            self._put(change)
        return changes

    def _changes(
        self, offset: int, key: bytes | None, value: bytes | None
    ) -> policy.Steps[list[SetInForce]]:
        scope, _, rest = (key or b"").decode("utf-8", "replace").partition("/")
        if rest == "set":
            return (yield from self._take_set(scope, offset, value))
        kind, _, digest = rest.partition("/")
        if kind != "doc":
            _log.warning("policy_record_unknown", offset=offset)
            return []
        return (yield from self._take_document(scope, digest, offset, value))

    def sets(self) -> list[SetInForce]:
        """All sets in force, by scope."""
        return [self._in_force[scope] for scope in sorted(self._in_force)]

    def changes_since(self, offset: int) -> list[SetInForce]:
        """What came into force, or went out of it, by a record at *offset* or later; the newest of each scope."""
        changes = [*self._in_force.values(), *self._removed.values()]
        return sorted((c for c in changes if c.offset >= offset), key=lambda c: (c.offset, c.scope))

    def program(self, tenant: str) -> policy.TenantProgram:
        """What *tenant*'s requests run under now. Composed once per set, then a dict lookup."""
        program = self._programs.get(tenant)
        if program is None:
            if len(self._programs) >= PROGRAMS_MAX:
                self._programs.clear()
            program = self._programs[tenant] = self._compose(tenant)
        return program

    def _compose(self, tenant: str) -> policy.TenantProgram:
        everyone = self._in_force.get(GLOBAL)
        own, stops = self._in_force.get(tenant), self._in_force.get(policy.STOPS)
        # A set of stops that cannot be read may name anybody: it stops everybody.
        invalid = " ".join(s.invalid for s in (everyone, own, stops) if s and s.invalid)
        return policy.compile_tenant(
            everyone.program if everyone else None,
            own.program if own else None,
            tenant,
            invalid=invalid,
            stops=stops.program if stops else None,
        )

    def _take_document(
        self, scope: str, digest: str, offset: int, value: bytes | None
    ) -> policy.Steps[list[SetInForce]]:
        place = (scope, digest)
        before = self._documents.get(place)
        if value is None:
            self._documents.pop(place, None)
        else:
            self._documents[place] = self._read_document(scope, digest, value)
        pending = self._pending.get(scope)
        if pending is not None and digest in pending.documents:
            changes = yield from self._try_set(scope, pending, offset)
            if changes:
                return changes
        named = self._named.get(scope)
        if named is None or digest not in named.documents:
            return []
        # A document is what its digest says: written again it changes nothing, damaged or mended it does.
        if (before is None) == (self._documents.get(place) is None):
            return []
        return (yield from self._try_set(scope, named, offset))

    def _read_document(self, scope: str, digest: str, value: bytes) -> policy.Document | None:
        """The document, or None for one that does not check: its set will be invalid."""
        try:
            document = policy.Document.from_record(events.decode_policy_document(value))
        except Exception as error:  # noqa: BLE001 — one record must not stop every worker: its tenant is denied
            _log.error("policy_document_invalid", scope=scope, digest=digest, code=_code(error))
            return None
        if document.digest != digest or document.scope != scope:
            _log.error("policy_document_invalid", scope=scope, digest=digest, code="digest")
            return None
        return document

    def _take_set(
        self, scope: str, offset: int, value: bytes | None
    ) -> policy.Steps[list[SetInForce]]:
        if value is None:
            self._pending.pop(scope, None)
            self._named.pop(scope, None)
            return [SetInForce(scope, "", offset, None)] if scope in self._in_force else []
        self._pending.pop(scope, None)
        try:
            record = events.decode_policy_set(value)
        except EnforcerError as error:
            self._named.pop(scope, None)
            return [self._invalid(scope, "", offset, f"the set cannot be read: {error.code}")]
        return (yield from self._try_set(scope, record, offset))

    def _try_set(
        self, scope: str, record: events.PolicySet, offset: int
    ) -> policy.Steps[list[SetInForce]]:
        """What the set of *record* comes to, by the record of the topic at *offset*."""
        known = self._documents
        if any((scope, digest) not in known for digest in record.documents):
            if scope in self._in_force and self._named.get(scope) is not record:
                # Documents are written before their set; a set without them waits, and the old one stays.
                self._pending[scope] = record
                return []
            self._named[scope] = record
            return [self._invalid(scope, record.digest, offset, "a document is not there")]
        if self._pending.get(scope) is record:
            del self._pending[scope]
        self._named[scope] = record
        documents = [known[scope, digest] for digest in record.documents]
        valid = [document for document in documents if document is not None]
        if len(valid) < len(documents):
            return [self._invalid(scope, record.digest, offset, "a document does not check")]
        before = self._in_force.get(scope)
        try:
            program = yield from policy.compile_scope_steps(
                valid, scope, previous=before.program if before is not None else None
            )
        except Exception as error:  # noqa: BLE001 — as above: nobody decides under what does not compile
            why = f"does not compile: {_code(error)}"
            return [self._invalid(scope, record.digest, offset, why)]
        if program.digest != record.digest:
            return [self._invalid(scope, record.digest, offset, "the set's digest is another")]
        return [SetInForce(scope, record.digest, offset, program)]

    def _invalid(self, scope: str, digest: str, offset: int, why: str) -> SetInForce:
        _log.error("policy_set_invalid", scope=scope, digest=digest, reason=why)
        return SetInForce(scope, digest, offset, None, invalid=f"{scope}: {why}")

    def _put(self, change: SetInForce) -> None:
        """Into force, or out of it."""
        if change.program is not None or change.invalid:
            self._in_force[change.scope] = change
            self._removed.pop(change.scope, None)
        else:
            del self._in_force[change.scope]
            self._removed[change.scope] = change
        self._programs.clear()


def _code(error: Exception) -> str:
    return error.code if isinstance(error, EnforcerError) else type(error).__name__


class PolicyFollower:
    """Reads the policy topic into a table for as long as the worker runs."""

    __slots__ = (
        "_broker",
        "_changed",
        "_current_s",
        "_is_running",
        "_on_change",
        "_on_refusal",
        "_reader",
        "_topic",
        "table",
        "trust",
    )

    def __init__(
        self,
        broker: Broker,
        topic: str,
        on_change: Callable[[SetInForce], None] | None = None,
        *,
        trust: Trust | None = None,
        on_refusal: Callable[[Refusal], None] | None = None,
    ) -> None:
        """
        Follow *topic*.

        Args:
            broker: Started.
            topic: Full name.
            on_change: Told each set that comes into force or goes out of it.
            trust: Which records are to be believed; all of them without.
            on_refusal: Told each record that is not.
        """
        self.table = PolicyTable()
        self.trust = trust
        self._on_refusal = on_refusal
        self._broker = broker
        self._topic = topic
        self._reader: Reader | None = None
        self._changed = asyncio.Event()
        self._on_change = on_change
        self._current_s = time.monotonic()
        self._is_running = False

    async def start(self) -> None:
        """
        Read everything that is there now; returns when the table is current.

        Where policies are signed, the table begins with what the history vouches for.
        """
        if self.trust is not None:
            prefix = self._topic.removesuffix(".policies")
            history = await read_history(self._broker, prefix, self.trust.verifier)
            for key, value in self.trust.vouched(history):
                self._tell(self.table.apply(-1, key, value))
        self._reader = reader = await self._broker.open_reader(read_committed=True)
        reader.assign([(self._topic, 0)])
        await reader.seek_to_beginning((self._topic, 0))
        await self.catch_up(await self.end())

    async def end(self) -> int:
        """The topic's end, asked now."""
        assert self._reader is not None
        ends = await self._reader.offsets_end([(self._topic, 0)])
        return ends[self._topic, 0]

    async def catch_up(self, end: int) -> None:
        """Read until the table's position has reached *end* (only before ``run``)."""
        assert self._reader is not None
        while (self._reader.position(self._topic, 0) or 0) < end:
            await self._take(await self._reader.poll(200))
        self.table.offset = max(self.table.offset, end)
        self._current_s = time.monotonic()

    async def wait_for(self, offset: int) -> None:
        """Return once the table's position has reached *offset*; ``run`` must be running."""
        while self.table.offset < offset:
            self._changed.clear()
            await self._changed.wait()

    async def run(self) -> None:
        """Follow the topic until cancelled."""
        reader = self._reader
        assert reader is not None
        self._is_running = True
        while True:
            await self._take(await reader.poll(500))
            # Control records and aborted ones move the position and deliver nothing.
            position = reader.position(self._topic, 0) or 0
            if position > self.table.offset:
                self.table.offset = position
                self._changed.set()

    async def watch(self, told: Callable[[float], None]) -> None:
        """
        Ask every second where the topic ends, and tell how long ago the table was last known to be there.

        Silence says nothing: a reader that is cut off from the topic hears as little as one to whom nothing
        happens. Hence the question, and hence an age that grows where it is not answered.
        """
        while True:
            asked_s = time.monotonic()
            with contextlib.suppress(EnforcerError, TimeoutError):
                async with asyncio.timeout(WATCH_TIMEOUT_S):
                    await self.wait_for(await self.end())
                self._current_s = asked_s
            told(self.age_s())
            await asyncio.sleep(WATCH_S)

    def age_s(self) -> float:
        """Since when, in seconds, nobody knows whether the table holds the newest policies."""
        return time.monotonic() - self._current_s

    async def stop(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            await self._reader.close()

    async def _take(self, polled: dict[tuple[str, int], list[Record]]) -> None:
        """Take in what was read, a slice at a time."""
        slices = _Slices(is_hurried=not self._is_running)
        for record in (each for records in polled.values() for each in records):
            if self._is_refused(record):
                await slices.between()
                continue
            steps = self.table.steps(record.offset, record.key, record.value)
            while (changes := _step(steps)) is None:
                await slices.between()
            # No agent decides between the table's change and hearing of it.
            self._tell(changes)
            self._changed.set()
            await slices.between()

    def _tell(self, changes: list[SetInForce]) -> None:
        if self._on_change is not None:
            for in_force in changes:
                self._on_change(in_force)

    def _is_refused(self, record: Record) -> bool:
        """Whether the record is passed over: what was in force stays."""
        if self.trust is None:
            return False
        refusal = self.trust.look(record.offset, record.key, record.value, record.headers)
        if refusal is None:
            return False
        self.table.offset = record.offset + 1
        self._changed.set()
        _log.error(
            "policy_record_refused", scope=refusal.scope, offset=refusal.offset, code=refusal.code
        )
        if self._on_refusal is not None:
            self._on_refusal(refusal)
        return True


class _Slices:
    """Time shared with the agents: a turn of theirs after each slice, and room for several in a long change."""

    def __init__(self, *, is_hurried: bool) -> None:
        # Looking at it has no effect, in a simulation either.
        self._clock = asyncio.get_running_loop().time
        self._pauses_s = float("inf") if is_hurried else self._clock() + PAUSES_FROM_MS / 1000
        self._until_s = self._clock() + SLICE_MS / 1000

    async def between(self) -> None:
        """Give way if the slice is over."""
        now_s = self._clock()
        if now_s >= self._until_s:
            await asyncio.sleep(PAUSE_MS / 1000 if now_s >= self._pauses_s else 0)
            self._until_s = self._clock() + SLICE_MS / 1000


def _step(steps: policy.Steps[list[SetInForce]]) -> list[SetInForce] | None:
    """One step more; the result after the last."""
    try:
        next(steps)
    except StopIteration as done:
        changes: list[SetInForce] = done.value
        return changes
    return None
