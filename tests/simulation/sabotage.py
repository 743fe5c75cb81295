"""
Bugs on purpose: each takes one promise out of the running code, and the simulation has to find it.

A checker that nothing can displease proves nothing. Each bug names the first seed from which on it is looked for.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from enforcer import events, state
from enforcer.errors import EnforcerError
from enforcer.policy.signing import Verifier
from enforcer.state import leases
from enforcer.stream import commit, restore, takeover, tenure
from enforcer.stream.inputs import Inputs
from enforcer.stream.poison import Care
from enforcer.stream.policy_follower import PolicyFollower
from enforcer.stream.rows import CallsSeen
from enforcer.stream.standby import Standbys
from enforcer.stream.tenure import Tenure
from enforcer.stream.timers import Timers
from enforcer.stream.worker import Worker
from enforcer.testing.simulation.producers import SimulatedLedger, SimulatedProducer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CLAIM = events.encode_claim(events.Claim(0, 0, "", 0))[:10]


def _no_claim(put: Callable[..., None]) -> None:
    """A takeover reads the tail, but its claim carries no epoch, and so fences nobody's fast lane."""
    send = SimulatedProducer.send

    def sending(self: Any, topic: str, partition: int, records: Any) -> Any:
        if not (records[0][1] or b"").startswith(_CLAIM):
            return send(self, topic, partition, records)
        nobody = SimulatedProducer(
            self._wire, lane="fast", producer=(-1, -1), poison_on_refusal=True
        )
        return send(nobody, topic, partition, records)

    put(SimulatedProducer, "send", sending)


def _no_fence(put: Callable[..., None]) -> None:
    """Each worker has transactional ids of its own, so that nobody fences anybody."""

    def own(self: Any, partition: int) -> str:
        return f"{self.config.group_id}-{partition}-{self.config.instance_id}"

    put(Worker, "transactional_id", own)


def _no_tail(put: Callable[..., None]) -> None:
    """A takeover does not look at what was told."""

    async def nothing(*_: Any, **__: Any) -> list[Any]:
        return []

    put(takeover, "read_decisions", nothing)


def _tail_from_the_end(put: Callable[..., None]) -> None:
    """The tail starts at the log's end as of now, past verdicts that were told after the cut."""
    acknowledged = commit._acknowledged

    async def at_the_end(target: Any, cut: Any) -> int:
        await acknowledged(target, cut)
        log = target.ledger._wire.cluster.log(target.topic("decisions"), target.partition)
        return int(log.end)

    put(commit, "_acknowledged", at_the_end)


def _tail_passed_too_early(put: Callable[..., None]) -> None:
    """The tail start moves past verdicts of an older tail that are not redone yet."""
    cut_of = Tenure.cut

    def cutting(self: Any) -> Any:
        cut = cut_of(self)
        cut.keep_tail_start = False
        cut.position.tail_start = max(cut.position.tail_start, self._claim_offset + 1)
        return cut

    put(Tenure, "cut", cutting)


def _sends_unawaited(put: Callable[..., None]) -> None:
    """A commit does not look whether the broker took its records."""
    start, send = SimulatedLedger.start, SimulatedLedger.send

    async def starting(self: Any) -> int:
        epoch = await start(self)
        self._lane._poison_on_refusal = False

        async def settled() -> None:
            await asyncio.gather(*list(self._lane._pending), return_exceptions=True)

        self._lane.settled = settled
        return epoch

    def sending(self: Any, topic: str, partition: int, records: Any) -> Any:
        sent = send(self, topic, partition, records)

        async def whatever() -> int:
            try:
                return int(await sent)
            except EnforcerError:
                return int(self._wire.cluster.log(topic, partition).end) - len(records)

        return asyncio.ensure_future(whatever())

    put(SimulatedLedger, "start", starting)
    put(SimulatedLedger, "send", sending)


def _verdicts_unacknowledged(put: Callable[..., None]) -> None:
    """The ledger says that verdicts were told before the broker has taken them."""

    async def at_once(*_: Any) -> None:
        return None

    put(commit, "_acknowledged", at_once)


def _table_before_the_commit(put: Callable[..., None]) -> None:
    """The table is written while the transaction is still to be committed."""
    commit_of, begin = SimulatedLedger.commit, SimulatedLedger.begin

    async def later(self: Any) -> None:
        await asyncio.sleep(0.01)
        await commit_of(self)

    async def committing(self: Any) -> None:
        if self._wire.process.name == "client":
            await commit_of(self)
            return
        self.late = asyncio.ensure_future(later(self))

    async def beginning(self: Any) -> None:
        if getattr(self, "late", None) is not None:
            await self.late
        await begin(self)

    put(SimulatedLedger, "commit", committing)
    put(SimulatedLedger, "begin", beginning)


def _on_after_a_failed_write(put: Callable[..., None]) -> None:
    """A batch that the table did not take is forgotten, and the next one is written."""
    write = commit.write_table

    def writing(*args: Any, **named: Any) -> None:
        with contextlib.suppress(EnforcerError):
            write(*args, **named)

    put(commit, "write_table", writing)


def _older_policies(put: Callable[..., None]) -> None:
    """A takeover does not wait for the policies that were decided under before."""

    async def nothing(_: Any) -> int:
        return 0

    async def at_once(*_: Any) -> None:
        return None

    put(PolicyFollower, "end", nothing)
    put(PolicyFollower, "wait_for", at_once)


def _position_elsewhere(put: Callable[..., None]) -> None:
    """The position row is kept in the table alone, and not in the transaction."""
    send = SimulatedLedger.send

    def sending(self: Any, topic: str, partition: int, records: Any) -> Any:
        kept = [record for record in records if record[0] != b"p"]
        if kept:
            return send(self, topic, partition, kept)
        done = asyncio.get_running_loop().create_future()
        done.set_result(0)
        return done

    put(SimulatedLedger, "send", sending)


class _Uncommitted:
    """A broker whose readers see what was aborted."""

    def __init__(self, broker: Any) -> None:
        self._broker = broker

    async def open_reader(self, *, read_committed: bool = True) -> Any:
        del read_committed
        return await self._broker.open_reader(read_committed=False)


def _uncommitted_rows(put: Callable[..., None]) -> None:
    """A restore takes rows of transactions that were aborted."""
    restored = takeover.restore

    async def restoring(broker: Any, *rest: Any, **named: Any) -> Any:
        return await restored(_Uncommitted(broker), *rest, **named)  # type: ignore[arg-type]

    put(takeover, "restore", restoring)


def _warm_as_it_is(put: Callable[..., None]) -> None:
    """A table that is found is taken as whole, without reading what came since."""
    restored = takeover.restore

    async def restoring(broker: Any, table: Any, **named: Any) -> Any:
        meta = table.meta()
        if meta is None:
            return await restored(broker, table, **named)
        return restore.Restored(0, dict(meta.positions), None)

    put(takeover, "restore", restoring)


def _stale_standby(put: Callable[..., None]) -> None:
    """A standby passes records that it has not written, and calls itself warm."""
    collect = Standbys._collect

    def collecting(self: Any, polled: Any) -> None:
        collect(self, {place: records[: len(records) // 2] for place, records in polled.items()})

    put(Standbys, "_collect", collecting)


def _standby_holds_on(put: Callable[..., None]) -> None:
    """A standby goes on writing into the table that an agent has taken."""

    def wanting(self: Any, partitions: Any) -> None:
        self._wanted = frozenset(partitions) | self._copies.keys()
        self._changed.set()

    put(Standbys, "want", wanting)


def _no_lists(put: Callable[..., None]) -> None:
    """A table does not say what falls due in it."""
    put(commit, "lists_of", lambda *_: {})


def _lists_read_late(put: Callable[..., None]) -> None:
    """Waiting usage that no list has brought into the queue yet is taken for none."""
    put(Timers, "_waits", lambda *_: False)


def _stale_filter(put: Callable[..., None]) -> None:
    """The filter of calls is that of an empty table, whatever the takeover found in it."""
    cache = tenure.RowCache

    def knowing(table: Any, **named: Any) -> Any:
        return cache(table, **named | {"seen": CallsSeen()})

    put(tenure, "RowCache", knowing)


def _usage_out_of_order(put: Callable[..., None]) -> None:
    """The tail is redone without regard to how much usage had been taken before each verdict."""
    read_tail = takeover.read_tail

    def reading(*args: Any, **named: Any) -> Any:
        told = read_tail(*args, **named)
        return {offset: replace(each, usage_offset=0) for offset, each in told.items()}

    put(takeover, "read_tail", reading)


def _evaluated_again(put: Callable[..., None]) -> None:
    """A verdict of the tail is evaluated again, by its new owner."""
    from universe import JudgingEngine

    def redoing(
        self: Any, arrival: Any, _: Any, __: Any, rows: Any, queue: Any, *, program_of: Any
    ) -> Any:
        return self.request(program_of, arrival, rows, queue)

    put(JudgingEngine, "redo", redoing)


def _starts_uncounted(put: Callable[..., None]) -> None:
    """Starts are not counted, so that a record which kills is never found."""
    put(Care, "starts_after", lambda self, *, moved: 0)


def _policies_behind(put: Callable[..., None]) -> None:
    """An agent names the newest policy offset while it decides under the set before."""
    apply = PolicyFollower._take

    async def taking(self: Any, polled: Any) -> None:
        kept = getattr(PolicyFollower, "_held", {})
        held = kept.pop(id(self), None)
        if held is not None:
            await apply(self, held)
        if polled and self.table.sets():
            (records,) = polled.values()
            self.table.offset = max(self.table.offset, records[-1].offset + 1)
            kept[id(self)] = polled
            polled = {}
        PolicyFollower._held = kept  # type: ignore[attr-defined]
        await apply(self, polled)

    put(PolicyFollower, "_take", taking)


def _redone_by_time(put: Callable[..., None]) -> None:
    """Told verdicts are known, but taken in the order of their records' times alone."""
    put(Inputs, "_next_told", Inputs._next_by_time)


def _slice_before_its_grant(put: Callable[..., None]) -> None:
    """A holder spends what it has asked for, before the owner has lent it."""
    slice_of = state.slice_usd_nano

    def early(row: Any) -> int:
        return slice_of(row) + (0 if row is None else row.asked_usd_nano)

    put(state, "slice_usd_nano", early)


def _recalled_is_free(put: Callable[..., None]) -> None:
    """An owner lends again what it has recalled, before its holder has repaid it: a slice that ends frees itself."""

    def lent(row: Any) -> int:
        held = [] if row is None else [h for h in row.holdings if not h.is_recalled]
        return sum(h.granted_usd_nano - h.repaid_usd_nano for h in held)

    put(leases, "lent_usd_nano", lent)


def _leases_out_of_order(put: Callable[..., None]) -> None:
    """The tail is redone without regard to which grants had been heard before each verdict."""
    read_tail = takeover.read_tail

    def reading(*args: Any, **named: Any) -> Any:
        told = read_tail(*args, **named)
        return {offset: replace(each, lease_offset=0) for offset, each in told.items()}

    put(takeover, "read_tail", reading)


def _unsigned(put: Callable[..., None]) -> None:
    """A worker with keys believes every record, whoever signed it."""

    def believed(*_: Any) -> str:
        return ""

    put(Verifier, "refusal", believed)


def _older_signed(put: Callable[..., None]) -> None:
    """A worker with keys takes any signed set, the newest and those before it."""
    refused = PolicyFollower._is_refused

    def refusing(self: Any, record: Any) -> bool:
        if self.trust is not None and record.key == b"*/set":
            self.trust._newest.pop("*", None)
            self.trust._floors.pop("*", None)
        return refused(self, record)

    put(PolicyFollower, "_is_refused", refusing)


@dataclass(frozen=True, slots=True)
class Bug:
    """*put_in* patches the code; it is looked for from the seed *first* on, under *faults* if any are named."""

    put_in: Callable[[Callable[..., None]], None]
    first: int = 1
    faults: tuple[str, ...] = ()
    company: int | None = None
    """The limit of a budget of the whole tenant, in place of what the seed has drawn."""


BUGS: dict[str, Bug] = {
    "claim": Bug(_no_claim, 25, ("deaf", "kill", "deaf")),
    "fence": Bug(_no_fence),
    "tail": Bug(_no_tail),
    "tail-end": Bug(_tail_from_the_end, 16),
    "tail-passed": Bug(_tail_passed_too_early, 3),
    "sends": Bug(_sends_unawaited),
    "acks": Bug(_verdicts_unacknowledged, 32),
    "table-first": Bug(_table_before_the_commit, 2),
    "failed-batch": Bug(_on_after_a_failed_write, 9, ("fill_disk", "fill_disk", "kill")),
    "older-policies": Bug(_older_policies, 95),
    "policies-behind": Bug(_policies_behind),
    "position": Bug(_position_elsewhere),
    "uncommitted": Bug(_uncommitted_rows),
    "warm": Bug(_warm_as_it_is, 12),
    "stale-standby": Bug(_stale_standby),
    "standby-holds-on": Bug(_standby_holds_on),
    "no-lists": Bug(_no_lists, 33),
    "lists-late": Bug(_lists_read_late, 33),
    "stale-filter": Bug(_stale_filter),
    "usage-order": Bug(_usage_out_of_order),
    "redone-by-time": Bug(_redone_by_time, 42),
    "evaluated-again": Bug(_evaluated_again),
    "starts": Bug(_starts_uncounted, 3),
    "lease-early": Bug(_slice_before_its_grant, company=12),
    "unsigned": Bug(_unsigned, 4),
    "older-signed": Bug(_older_signed, 4),
    "lease-free": Bug(_recalled_is_free, company=2),
    "lease-order": Bug(_leases_out_of_order, 6, company=2),
}
"""By name."""


@contextmanager
def sabotaged(name: str) -> Iterator[None]:
    """The code with the bug *name* in it; "": as it is."""
    with ExitStack() as stack:
        if name:

            def put(where: object, what: str, how: object) -> None:
                stack.enter_context(patch.object(where, what, how, create=True))

            BUGS[name].put_in(put)
        yield
