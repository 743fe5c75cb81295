"""
The gateway's end of the wire: a call becomes a request record, its verdict an outcome.

One instance serves thousands of calls at once: one reader task for all verdicts, one producer, and all
requests of one turn of the event loop in one batch a partition. A call costs a future and a timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

from enforcer import events
from enforcer.client.calls import (
    Call,
    Key,
    deadline_of,
    filled,
    outcome_of,
    read_json,
    read_record,
    traceparent_of,
)
from enforcer.client.follower import Follower
from enforcer.client.outcome import Outcome, Stats
from enforcer.client.sender import Parcel, Sender
from enforcer.client.tenants import Tenants
from enforcer.errors import EnforcerError, RequestError, UnavailableError
from enforcer.policy.trust import trust_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from enforcer.broker.ports import Broker
    from enforcer.events import Request, Usage

VALUE_BYTES_MAX: Final = 4 * 1024 * 1024
"""A larger request is refused here; its agent would answer ``too_large``."""
CALLS_MAX: Final = 10_000
REPORTS_MAX: Final = 100_000
_REMEMBERED_MAX: Final = 100_000
_ACCOUNTS_MAX: Final = 100_000
_CLOSE_S: Final = 5.0
_LOOK_S: Final = 30.0
"""So often it is looked whether there are more partitions; a call that went astray is a reason to look at once."""
_LOOK_AGAIN_S: Final = 1.0

_log = structlog.get_logger("enforcer.client")


class Gateway:
    """
    Asks for verdicts over one Kafka cluster. An async context manager; belongs to one event loop.

    Args:
        broker: ``host:port,host:port``, or a started Broker that the caller stops.
        prefix: First part of every topic's name.
        gateway_id: Name of this instance, the header its verdicts come back by; unique, or left out.
        kafka_config: TLS and SASL settings, as ``--kafka-config`` has them, where *broker* is addresses.
        policy_keys: Public keys of those who may change policies, in PEM; what none of them signed is not believed.
        calls_max: Calls in flight; one more is refused with code ``too_many_calls``.
    """

    def __init__(
        self,
        broker: Broker | str,
        *,
        prefix: str = "enforcer",
        gateway_id: str | None = None,
        kafka_config: Path | None = None,
        policy_keys: Sequence[bytes] = (),
        calls_max: int = CALLS_MAX,
    ) -> None:
        self.gateway_id = gateway_id or uuid.uuid4().hex
        self._broker_or_bootstrap = broker
        self._kafka_config = kafka_config
        self._trust = trust_of(policy_keys, prefix=prefix)
        self._header = self.gateway_id.encode()
        self._gateway = ("gateway", self._header)
        self._requests = f"{prefix}.requests"
        self._usage = f"{prefix}.usage"
        self._decisions = f"{prefix}.decisions"
        self._policies = f"{prefix}.policies"
        self._calls_max = calls_max
        self._calls: dict[Key, Call] = {}
        self._tenants = Tenants()
        self._stats = Stats()
        # What was done about a call, for the report that follows: where it goes and what it says.
        self._remembered: dict[Key, tuple[bytes, int, str | None, tuple[str | None, ...]]] = {}
        self._accounts: dict[str, tuple[bytes, int]] = {}
        self._reports: deque[Parcel] = deque()
        self._partitions = 0
        self._misrouted = asyncio.Event()
        self._open = False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """
        Connect, take positions and read the tenants: verdicts of the first call cannot be missed.

        Raises: UnavailableError, AuthError, ConfigError, or NotFoundError for topics that are not there.
        """
        assert not self._open, "start once"
        self._loop = asyncio.get_running_loop()
        self._owned: Broker | None = None
        broker = self._broker_or_bootstrap
        if isinstance(broker, str):
            from enforcer.broker import KafkaBroker, load  # noqa: PLC0415 — only who names brokers needs them

            broker = self._owned = KafkaBroker(load(bootstrap=broker, file=self._kafka_config))
            await broker.start()
        try:
            await self._connect(broker)
        except BaseException:
            if self._owned is not None:
                await self._owned.stop()
            raise

    async def _connect(self, broker: Broker) -> None:
        self._partitions = await broker.partitions(self._requests)
        self._follower = Follower(
            broker,
            decisions=self._decisions,
            partitions=await broker.partitions(self._decisions),
            policies=self._policies,
            gateway=self._header,
            tenants=self._tenants,
            trust=self._trust,
            take=self._take,
        )
        self._sender = Sender(broker, (self._requests, self._usage), self._refused)
        try:
            await self._follower.start()
            await self._sender.start()
        except BaseException:
            await self._follower.close()
            raise
        self._broker = broker
        self._reading = self._loop.create_task(self._follower.run(), name="gateway-reader")
        self._watching = self._loop.create_task(self._watch_partitions(), name="gateway-watch")
        self._open = True

    async def close(self) -> None:
        """Send what is waiting and disconnect. Calls still in flight fail with UnavailableError."""
        if not self._open:
            return
        self._open = False
        await self._sender.close(_CLOSE_S)
        for task in (self._reading, self._watching):
            task.cancel()
        await asyncio.gather(self._reading, self._watching, return_exceptions=True)
        await self._follower.close()
        for call in list(self._calls.values()):
            self._fail(call, UnavailableError("the gateway was closed", code="closed"))
        if self._owned is not None:
            await self._owned.stop()

    async def _watch_partitions(self) -> None:
        """After ``topics repartition`` accounts are other partitions': look now and then, and when a call went astray."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._misrouted.wait()
            try:
                await self._look_at_partitions()
            except EnforcerError as error:
                _log.warning("partitions_unknown", code=error.code)
            await asyncio.sleep(_LOOK_AGAIN_S)
            self._misrouted.clear()

    async def _look_at_partitions(self) -> None:
        count = await self._broker.partitions(self._requests)
        # The topics grow one after the other: verdicts are followed before anything is asked there.
        if count <= self._partitions or await self._broker.partitions(self._decisions) < count:
            return
        await self._follower.grow(count)
        _log.info("partitions_grew", before=self._partitions, partitions=count)
        self._partitions = count
        self._accounts.clear()
        for key, (account, _, acted, who) in self._remembered.items():
            partition = events.partition_of(account, count)
            self._remembered[key] = (account, partition, acted, who)

    @property
    def stats(self) -> Stats:
        """Counts since the start."""
        self._stats.foreign = self._follower.foreign
        self._stats.reconnects = self._sender.reconnects
        return self._stats

    @property
    def in_flight(self) -> int:
        """Calls that wait for their verdict."""
        return len(self._calls)

    async def decide(
        self,
        request: Request | dict[str, Any],
        deadline_ms: int | None = None,
        *,
        traceparent: str | None = None,
    ) -> Outcome:
        """
        Ask for the verdict on one call, and say what to do.

        Args:
            request: A record (sent as Avro), or its JSON form (sent as JSON, unknown fields and all).
            deadline_ms: How long to wait; else the request's own, else 2000. Then the tenant's
                ``on_timeout`` decides, and the bypass is reported.
            traceparent: The caller's trace (W3C); one is made if it is not given.

        Raises:
            RequestError: The request is not sent: ``too_large``, ``too_many_calls``, ``in_flight`` (the
                same call already waits), or it cannot be encoded.
            UnavailableError: The gateway is or was closed, or the broker refused the record. No verdict
                was given: deny. (A broker that is away does not raise; the deadline passes.)
            AuthError: The broker refuses this principal.
        """
        call = self._begin(request, deadline_ms, traceparent)
        try:
            return await call.future
        except asyncio.CancelledError:
            if self._calls.get(call.key) is call:
                self._abandon(call)
            raise

    def _begin(
        self, request: Request | dict[str, Any], deadline_ms: int | None, traceparent: str | None
    ) -> Call:
        if not self._open:
            raise UnavailableError("the gateway is not open", code="closed")
        if len(self._calls) >= self._calls_max:
            raise RequestError(
                f"{self._calls_max} calls are in flight already",
                code="too_many_calls",
                help="Wait for some of them, or start another gateway.",
            )
        call = Call()
        call.started_ns = time.perf_counter_ns()
        call.request = request
        call.traceparent = trace = traceparent_of(traceparent)
        if isinstance(request, dict):
            value = read_json(call, request, deadline_ms)
            team = call.who[1]
        else:
            value = read_record(call, request, deadline_ms)
            team = request.team.id
        deadline_s = deadline_of(request, deadline_ms) / 1000
        if len(value) > VALUE_BYTES_MAX:
            raise RequestError(
                f"the request has {len(value)} bytes, {VALUE_BYTES_MAX} are allowed",
                code="too_large",
                help="Media do not travel: send their sizes and digests.",
            )
        if call.key in self._calls:
            raise RequestError(
                f"request {call.key[1]!r} attempt {call.key[2]} is in flight already",
                code="in_flight",
                help="A new attempt takes the next number.",
            )
        settings = self._tenants.settings(call.key[0])
        call.on_timeout = settings.on_timeout
        call.account, call.partition = self._account(call.key[0], team, settings.account_by)
        headers = (self._gateway, ("traceparent", trace.encode()))
        call.parcel = Parcel((call.account, value, headers, None), call=call.key)
        call.future = self._loop.create_future()
        call.timer = self._loop.call_later(deadline_s, self._expire, call)
        self._calls[call.key] = call
        self._stats.calls += 1
        self._sender.put(self._requests, call.partition, call.parcel)
        return call

    def _account(self, tenant: str, team: str | None, by: tuple[str, ...]) -> tuple[bytes, int]:
        """The account's key and partition; murmur2 in Python is worth remembering."""
        account = events.account_of(tenant, team, by)
        known = self._accounts.get(account)
        if known is None:
            if len(self._accounts) >= _ACCOUNTS_MAX:
                self._accounts.clear()
            key = account.encode()
            known = (key, events.partition_of(key, self._partitions))
            self._accounts[account] = known
        return known

    def _take(self, value: bytes) -> None:
        """A record of decisions that carries our header."""
        try:
            decision = events.read_decision(value)
        except EnforcerError:
            self._stats.unreadable += 1
            return
        if isinstance(decision, events.Claim):
            return
        call = self._calls.get((decision.tenant, decision.request_id, decision.attempt))
        if call is None:
            self._stats.late += 1  # After its deadline, or a repeat: the first verdict has won.
            return
        self._stats.verdicts[decision.verdict] += 1
        if decision.reasons and decision.reasons[0].code == "misrouted":
            self._misrouted.set()
        self._end(call, outcome_of(call, decision))

    def _end(self, call: Call, outcome: Outcome) -> None:
        # A timeout is reported at once; the usage that follows must not count it a second time.
        self._close_call(call, None if outcome.by_timeout else outcome.acted)
        if not call.future.done():
            call.future.set_result(outcome)

    def _close_call(self, call: Call, acted: str | None) -> None:
        del self._calls[call.key]
        call.timer.cancel()
        call.parcel.wanted = False
        if len(self._remembered) >= _REMEMBERED_MAX:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[call.key] = (call.account, call.partition, acted, call.who)

    def _fail(self, call: Call, error: EnforcerError) -> None:
        if self._calls.get(call.key) is call:
            self._close_call(call, None)
            if not call.future.done():
                call.future.set_exception(error)

    def _refused(self, parcel: Parcel, error: EnforcerError) -> None:
        call = self._calls.get(parcel.call) if parcel.call is not None else None
        if call is not None and call.parcel is parcel:
            self._fail(call, error)

    def _expire(self, call: Call) -> None:
        """The deadline has passed: do what the tenant says, and say that it was done without a verdict."""
        verdict = call.on_timeout
        acted = f"timeout_{verdict}"
        self._stats.timeouts[verdict] += 1
        outcome = Outcome(
            verdict=verdict,
            acted=acted,
            code="timeout",
            decision=None,
            request=call.request,
            latency_ms=(time.perf_counter_ns() - call.started_ns) / 1e6,
            by_timeout=True,
            traceparent=call.traceparent,
        )
        self._end(call, outcome)
        # A call that was not made ends here: its verdict may still come and reserve. One that is made
        # goes on, and its usage settles it.
        final = verdict == "deny"
        self._report_end(call, acted, final=final, outcome="failed" if final else "completed")

    def _abandon(self, call: Call) -> None:
        """Nobody waits any more: give back what the verdict may reserve."""
        self._stats.cancelled += 1
        self._close_call(call, None)
        self._report_end(call, None, final=True, outcome="failed")

    def _report_end(self, call: Call, acted: str | None, *, final: bool, outcome: str) -> None:
        tenant, request_id, attempt = call.key
        user, team, project = call.who
        usage = events.Usage(
            request_id=request_id,
            tenant=tenant,
            attempt=attempt,
            final=final,
            outcome=outcome,
            acted=acted,
            user=user,
            team=team,
            project=project,
        )
        with contextlib.suppress(
            EnforcerError
        ):  # The backlog is full: the broker has been away for long.
            self._put_usage(usage, call.account, call.partition)

    async def report(self, usage: Usage | dict[str, Any]) -> None:
        """
        Tell what a call used. Returns when the report is on its way, not when it has arrived.

        Of a call that this gateway decided, ``acted``, user, team and project are filled in where the
        report leaves them out. Reports survive a broker that is away for a while.

        Raises: RequestError, if it cannot be encoded; UnavailableError, if 100,000 reports wait.
        """
        if not self._open:
            raise UnavailableError("the gateway is not open", code="closed")
        if isinstance(usage, dict):
            usage = events.from_json(events.Usage, usage)
        known = self._remembered.get((usage.tenant, usage.request_id, usage.attempt))
        if known is None:
            settings = self._tenants.settings(usage.tenant)
            account, partition = self._account(usage.tenant, usage.team, settings.account_by)
        else:
            account, partition, acted, who = known
            usage = filled(usage, acted, who)
        self._put_usage(usage, account, partition)

    def _put_usage(self, usage: Usage, account: bytes, partition: int) -> None:
        reports = self._reports
        while reports and (reports[0].acknowledged or not reports[0].wanted):
            reports.popleft()
        if len(reports) >= REPORTS_MAX:
            raise UnavailableError(f"{REPORTS_MAX} usage reports wait", code="backlog")
        value = events.encode_usage(usage)
        parcel = Parcel((account, value, (self._gateway,), None), repeatable=usage.final)
        reports.append(parcel)
        self._stats.usage_reports += 1
        self._sender.put(self._usage, partition, parcel)
