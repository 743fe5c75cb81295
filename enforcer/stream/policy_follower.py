"""
Following the policy topic into the table, for as long as the worker runs.

A thousand policies take seconds, and a decision must not wait for them: the follower lets the agents run after every
``SLICE_MS`` of steps (``PolicyTable.steps``); in a long change it leaves them ``PAUSE_MS``, for a decision takes
several turns of the loop.

Where policies are signed (``policy.trust``), a record that is not believed never comes to the table. The table then
begins with what vouches beside the topic: the history, this worker's own directory, other workers' word. What is
wrong with the topic at that moment is told once it is read to its end: on the way there old sets are as usual.

Keys may change meanwhile (``believe``). What is in force stays; what the new keys have signed and the old ones had not is
looked for in history and topic, so that a worker that was running and one that starts then agree.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

import structlog

from enforcer.broker.to_end import SILENCE_S, read_to
from enforcer.errors import EnforcerError
from enforcer.policy.trust import CODES, STANDING
from enforcer.stream.policies import PolicyTable, SetInForce
from enforcer.stream.policy_history import Floors, read_floors, read_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from enforcer import policy
    from enforcer.broker.ports import Broker, Reader, Record
    from enforcer.policy.signing import Verifier
    from enforcer.policy.trust import History, Refusal, Trust
    from enforcer.stream.signed_sets import SignedSets

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


class PolicyFollower:
    """Reads the policy topic into a table for as long as the worker runs."""

    __slots__ = (
        "_broker",
        "_changed",
        "_current_s",
        "_is_running",
        "_is_starting",
        "_on_change",
        "_on_refusal",
        "_prefix",
        "_reader",
        "_rereads",
        "_silence_s",
        "_topic",
        "_vouched",
        "held",
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
        silence_s: float = SILENCE_S,
    ) -> None:
        """
        Follow *topic*.

        Args:
            broker: Started.
            topic: Full name.
            on_change: Told each set that comes into force or goes out of it.
            trust: Which records are to be believed; all of them without.
            on_refusal: Told each record that is not.
            silence_s: How long the topic may give nothing of what is known to be in it, before a start fails.
        """
        self.table = PolicyTable()
        self.trust = trust
        self._on_refusal = on_refusal
        self._broker = broker
        self._topic = topic
        self._prefix = topic.removesuffix(".policies")
        self._silence_s = silence_s
        self.held: SignedSets | None = None
        """Where the newest signed set of each scope is kept beside the topics; to be given before ``start``."""
        self._rereads = False
        self._vouched: set[str] = set()
        """Scopes that began with a set from beside the topic."""
        self._reader: Reader | None = None
        self._changed = asyncio.Event()
        self._on_change = on_change
        self._current_s = time.monotonic()
        self._is_running = self._is_starting = False

    async def start(self) -> None:
        """
        Read everything that is there now; returns when the table is current.

        Where policies are signed, the table begins with what is vouched for beside the topic.
        Raises: UnavailableError, also when a topic gives nothing of what is in it.
        """
        self._is_starting = True
        if self.trust is not None:
            history = await read_history(self._broker, self._prefix, self.trust.verifier)
            await self._raise_floors(self.trust, history)
            self._begin_with(self.trust, history)
        self._reader = reader = await self._broker.open_reader(read_committed=True)
        reader.assign([(self._topic, 0)])
        await reader.seek_to_beginning((self._topic, 0))
        await self.catch_up(await self.end())
        self._is_starting = False
        if self.trust is not None:
            self._look_for_missing(self.trust)

    async def end(self) -> int:
        """The topic's end, asked now."""
        assert self._reader is not None
        ends = await self._reader.offsets_end([(self._topic, 0)])
        return ends[self._topic, 0]

    async def catch_up(self, end: int) -> None:
        """Read until the table's position has reached *end* (only before ``run``)."""
        assert self._reader is not None
        async for polled in read_to(
            self._reader, {(self._topic, 0): end}, silence_s=self._silence_s
        ):
            await self._take(polled)
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
            if self._rereads:
                await self._read_again()
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

    def believe(self, verifier: Verifier) -> None:
        """Believe these keys from now on, and no others."""
        assert self.trust is not None, "policies are not signed here"
        self._refuse(self.trust.change_keys(verifier, self.table.offset))
        self._rereads = True

    async def stop(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            await self._reader.close()
        if self.held is not None:
            self.held.close()

    # -- one record ----------------------------------------------------------------------------------------

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
            self._hold(change.scope for change in changes)
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
        if not self._is_starting:
            self._tell_refused(refusal)
        return True

    def _refuse(self, refusals: Iterable[Refusal]) -> None:
        """Note what is wrong, and tell it."""
        assert self.trust is not None, "who believes everything refuses nothing"
        for refusal in refusals:
            self._tell_refused(self.trust.refuse(refusal))

    def _tell_refused(self, refusal: Refusal) -> None:
        event = "policy_set_not_vouched" if refusal.code in STANDING else "policy_record_refused"
        _log.error(event, scope=refusal.scope, offset=refusal.offset, code=refusal.code)
        if self._on_refusal is not None:
            self._on_refusal(refusal)

    # -- what vouches beside the topic -----------------------------------------------------------------------

    async def _raise_floors(self, trust: Trust, history: History) -> None:
        """Nothing below what this worker, or any other, has had in force is taken."""
        try:
            floors = await read_floors(self._broker, self._prefix)
        except EnforcerError as error:
            _log.warning(
                "policy_floor_unknown", topic=f"{self._prefix}.policy-acks", code=error.code
            )
            floors = Floors()
        for scope, revision in floors.revisions.items():
            trust.raise_floor(scope, revision)
        for held in self.held.read() if self.held is not None else ():
            trust.raise_floor(held.scope, held.revision)
            for signed in held.records:
                history.take(signed, is_shown=False)

    def _begin_with(self, trust: Trust, history: History) -> None:
        scopes: set[str] = set()
        for scope, key, value in trust.vouched(history):
            self._tell(self.table.revise(key, value))
            scopes.add(scope)
        self._hold(scopes)
        self._vouched |= scopes
        if scopes:
            self._changed.set()

    def _look_for_missing(self, trust: Trust) -> None:
        """Tell what the topic ends on and is not believed; deny the scopes whose set nobody has any more."""
        for refusal in [*trust.refused.values()]:
            self._tell_refused(refusal)
        for scope in self._vouched - trust.shown():
            self.table.stamp(scope)
        missing = trust.missing(self.table.offset)
        self._refuse(missing)
        for refusal in missing:
            if refusal.code == "lost":
                self._tell(self.table.deny(refusal.scope, CODES["lost"]))

    def _hold(self, scopes: Iterable[str]) -> None:
        """Keep what is in force now, for a start at which no topic may show it."""
        if self.held is None or self.trust is None:
            return
        for scope in scopes:
            if self.trust.revision(scope):
                self.held.keep(scope, *self.trust.kept(scope))

    async def _read_again(self) -> None:
        """What was refused under other keys may be believed now."""
        trust = self.trust
        assert trust is not None, "as in `believe`"
        try:
            history = await read_history(
                self._broker, self._prefix, trust.verifier, with_policies=True
            )
        except EnforcerError as error:
            _log.warning("policies_not_read_again", code=error.code)
            return  # At the next turn.
        self._rereads = False
        self._begin_with(trust, history)


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
