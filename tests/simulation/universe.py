"""
One run of the whole data plane from one seed: workers, clients, faults, and what the topics hold afterwards.

The workers are the product's, on the simulated cluster; the company, its traffic and the checker are those of the kill
test. A run has three parts: a calm start, a storm of faults that the seed has drawn, and a calm end in which all that
was asked must come to the ledger.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import zlib
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from enforcement_check import Findings, check, read_topics
from enforcement_world import (
    BREAKS,
    KILLS,
    Traffic,
    change_policies,
    make_topics,
    send_all,
    until_committed,
)
from intruder import Intruder

from enforcer import events
from enforcer.engine import Engine
from enforcer.engine.denials import deny
from enforcer.errors import AgentCorruptedError, AgentFencedError, UnavailableError
from enforcer.stream.commit import TableWriteError
from enforcer.stream.config import WorkerConfig
from enforcer.stream.worker import Worker
from enforcer.telemetry import Metrics
from enforcer.testing.simulation import (
    PROCESS,
    Cluster,
    Died,
    Disk,
    Marks,
    Odds,
    Process,
    SimulatedBroker,
    SimulatedLoop,
    Storm,
    Strike,
    StuckError,
    simulated_clock,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PREFIX = "s"
SIGNED_SETS = -1
"""What a disk calls the table of signed policies."""
SESSION_MS = 1_500
OWNED_ONE_IN = 4
SIGNED_ONE_IN = 4
FINISH_S = 60.0
TRACE_LINES = 4_000
EXPECTED_ENDS = (AgentFencedError, AgentCorruptedError, TableWriteError, UnavailableError)
"""What a worker may end with in a storm. Anything else is a bug."""

SITES = (
    "ledger.start",
    "fast.send decisions first",
    "fast.send decisions",
    "reader.offsets_begin",
    "reader.offsets_end",
    "reader.fetch committed",
    "reader.fetch all",
    "group_offsets",
    "ledger.begin first",
    "ledger.send state first",
    "ledger.offsets first",
    "ledger.commit first",
    "table.write first",
    "ledger.begin",
    "ledger.add_partition",
    "ledger.send audit",
    "ledger.send state",
    "ledger.send calls",
    "ledger.offsets",
    "ledger.commit",
    "table.write",
)
"""Every step of a takeover and of a commit, where a process may die."""
NO_ANSWER = ("ledger.begin first", "ledger.begin")
"""Sites with nothing between before and after: the broker is not asked."""
STRIKES = [
    (site, when) for site in SITES for when in ("before", "after")
    if when == "before" or site not in NO_ANSWER
]  # fmt: skip


class JudgingEngine(Engine):
    """Some verdicts depend on who decides and on the policy offset: whatever is decided twice, shows."""

    def __init__(self, process: Process, marks: Marks) -> None:
        super().__init__()
        self._process = process
        self._marks = marks
        self.in_force: Callable[[], int] = lambda: 0
        """The policy offset that its worker decides under now."""

    def request(self, program: Any, arrival: Any, *rest: Any) -> Any:
        """As the engine, but for a text that raises outside of its own guard."""
        if BREAKS.encode() in (arrival.value or b""):
            raise ValueError("a bug")
        return super().request(program, arrival, *rest)

    def redo(self, arrival: Any, told: Any, *rest: Any, **named: Any) -> Any:
        """As the engine."""
        self._marks.sometimes("verdict redone")
        if self.in_force() > told.source.policy_offset:
            self._marks.sometimes("policy changed between verdict and commit")
        return super().redo(arrival, told, *rest, **named)

    def refuse(self, *rest: Any) -> Any:
        """As the engine."""
        self._marks.sometimes("poison refused")
        return super().refuse(*rest)

    def _ruling(self, case: Any, *rest: Any) -> Any:
        if case.request.llm.prompt == KILLS:
            self._process.kill()
            raise Died
        ruling = super()._ruling(case, *rest)
        offset = case.arrival.source.policy_offset
        drawn = zlib.crc32(f"{self._process.name} {offset} {case.request.id}".encode())
        owned = zlib.crc32(case.request.id.encode()) % OWNED_ONE_IN == 0
        if owned and drawn % 2 and ruling.verdict != "deny":
            ruling = deny("owner", "this process says no")
        ruling.warnings.append(events.Reason("", "", "warn", "owner", self._process.name))
        return ruling


def quick_config(prefix: str, instance_id: str, **settings: Any) -> WorkerConfig:
    """A worker's settings with every interval and bound small, so that little traffic meets all of them."""
    small = {
        "commit_interval_ms": 50,
        "group_offsets_interval_ms": 120,
        "commit_records_max": 40,
        "uncommitted_records_max": 100,
        "uncommitted_ms_max": 2_000,
        "queue_records_max": 60,
        "slice_us": 200,
        "lone_input_wait_ms": 20,
        "fenced_wait_ms": 500,
        "ack_timeout_ms": 3_000,
        "step_timeout_ms": 5_000,
        "drain_timeout_ms": 3_000,
    }
    return WorkerConfig(
        prefix=prefix,
        group_id=prefix,
        instance_id=instance_id,
        state_dir=Path("unused"),
        **{**small, **settings},
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What a seed has drawn."""

    partitions: int
    machines: int
    requests: int
    teams: int
    per_second: float
    faults: tuple[str, ...]
    strikes: tuple[tuple[str, str, int], ...]
    poison: tuple[str, ...]
    is_compacted_soon: bool
    company_usd: int = 0
    """Of a budget of the whole tenant, of which partitions hold slices; 0: none."""
    is_signed: bool = False
    """Policies are signed, and somebody without the key writes to their topic."""


FAULTS = (
    "kill", "stall", "nap", "deaf", "refuse", "silence", "lose_disk", "damage_disk", "fill_disk",
    "old_disk", "step_worker_clock", "step_broker_clock", "compact", "stop", "scale",
)  # fmt: skip


def draw(seed: int, faults: Sequence[str] = (), company: int | None = None) -> Plan:
    """
    The plan of *seed*.

    Of consecutive seeds each takes the next faults and places of death, so that few seeds meet all of them.
    """
    rng = random.Random(f"{seed} plan")
    mine = [FAULTS[(3 * seed + n) % len(FAULTS)] for n in range(3)]
    mine += rng.choices(FAULTS, k=rng.randrange(1, 4))
    rng.shuffle(mine)
    strikes = [(*STRIKES[(2 * seed + n) % len(STRIKES)], rng.randrange(1, 6)) for n in range(2)]
    strikes += [(*rng.choice(STRIKES), rng.randrange(1, 12)) for _ in range(rng.randrange(2))]
    return Plan(
        partitions=rng.randrange(1, 4),
        machines=rng.randrange(2, 4),
        requests=rng.randrange(120, 320),
        teams=rng.choice((3, 8, 40)),
        per_second=rng.choice((40.0, 90.0, 250.0)),
        faults=tuple(faults or mine),
        strikes=tuple(strikes),
        poison=((), (), (BREAKS,), (KILLS,))[seed % 4],
        is_compacted_soon=rng.random() < 0.5,
        company_usd=(0, 0, 3, 0, 0, 0, 9, 0)[seed % 8] if company is None else company,
        is_signed=seed % SIGNED_ONE_IN == 0,
    )


@dataclass(slots=True)
class Outcome:
    """What a run has left."""

    seed: int
    found: Findings = field(default_factory=Findings)
    marks: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    trace: list[str] = field(default_factory=list)
    virtual_s: float = 0.0


class Machine:
    """A disk, and a worker on it that a supervisor starts again."""

    def __init__(self, universe: Universe, name: str) -> None:
        self._universe = universe
        self.name = name
        self.disk = Disk(universe.storm)
        self.process = Process(f"{name}.0")
        self.broker: SimulatedBroker | None = None
        self.worker: Worker | None = None
        self.pause_s = 0.0
        """How long it stays down after its next end."""
        self.is_wanted = True
        self._lives = 0
        self._supervisor = asyncio.ensure_future(self._keep())

    async def _keep(self) -> None:
        while self.is_wanted:
            born_s = self._universe.loop.time()
            await self._live()
            pause_s, self.pause_s = self.pause_s, 0.0
            # A supervisor waits a little longer for who ends again and again.
            lived_s = self._universe.loop.time() - born_s
            await asyncio.sleep(pause_s + (0.02 if lived_s > 1.0 else 0.15))

    async def _live(self) -> None:
        universe = self._universe
        self._lives += 1
        process = self.process = Process(f"{self.name}.{self._lives}")
        process.clock_step_s = universe.worker_step_s
        task = universe.loop.spawn(process, self._run(process))
        while process.is_alive and not task.done():  # noqa: ASYNC110 — the dead set no events
            await asyncio.sleep(0.02)
        if not process.is_alive:
            universe.note("dies", process.name)
            return
        error = task.exception()
        process.kill()
        if error is not None:
            universe.note("ends", process.name, type(error).__name__, str(error))
            if not isinstance(error, EXPECTED_ENDS):
                universe.found.problem(f"a worker ended with {type(error).__name__}", repr(error))

    async def _run(self, process: Process) -> None:
        self.broker = SimulatedBroker(self._universe.cluster, process)
        engine = JudgingEngine(process, self._universe.storm.marks)
        self.worker = worker = Worker(
            quick_config(PREFIX, self.name, policy_keys=self._universe.intruder.keys),
            broker=self.broker,
            engine=engine,
            metrics=Metrics(),
            open_table=lambda partition: self.disk.open(partition, process),
        )
        engine.in_force = lambda: worker.policies.table.offset
        worker.open_signed_sets = lambda: self.disk.open(SIGNED_SETS, process)
        await worker.run()

    async def stop(self) -> None:
        """SIGTERM, for good."""
        self.is_wanted = False
        self.pause_s = 0.0
        if self.worker is not None and self.process.is_alive:
            self.worker.stop()
        await self._supervisor


class Universe:
    """Everything of one run."""

    def __init__(self, seed: int, plan: Plan) -> None:
        self.plan = plan
        self.loop = SimulatedLoop(random.Random(f"{seed} loop"))
        self.storm = Storm(random.Random(f"{seed} weather"), is_over=True)
        self.storm.spared = {"client"}
        self.cluster = Cluster(self.storm)
        self.cluster.session_timeout_ms = SESSION_MS
        self.cluster.transaction_timeout_s = 3.0
        self.rng = random.Random(f"{seed} faults")
        self.found = Findings()
        self.machines: list[Machine] = []
        self.trace: deque[str] = deque(maxlen=TRACE_LINES)
        self.digest = hashlib.sha256()
        self.worker_step_s = 0.0
        self._seed = seed
        self._client = SimulatedBroker(self.cluster, Process("client"))
        self._versions: dict[str, int] = {}
        self.intruder = Intruder(self._client, PREFIX, self.storm.marks, is_signed=plan.is_signed)
        self._stood_by: set[tuple[str, object]] = set()
        """Process and partition: it had a warm copy."""

    def note(self, *what: object) -> None:
        """Write a line of the trace."""
        process = PROCESS.get()
        line = f"{self.loop.time():10.6f} {process.name if process else '-':6} " + " ".join(
            map(str, what)
        )
        self.trace.append(line)
        self.digest.update(line.encode())

    def log(self, _: Any, level: str, event: dict[str, Any]) -> Any:
        """Take the workers' log into the trace."""
        fields = " ".join(f"{k}={v}" for k, v in event.items() if k != "event")
        self.note(level, event.get("event"), fields)
        process = PROCESS.get()
        copy = (process.name if process else "", event.get("partition"))
        if event["event"] == "standby_warm":
            self._stood_by.add(copy)
        elif event["event"] == "agent_ready" and copy in self._stood_by:
            self.storm.marks.sometimes("standby took over")
            self._stood_by.discard(copy)
        elif event["event"] == "handed_over":
            self.storm.marks.sometimes(f"handed over, {'in part' if event['pending'] else 'whole'}")
        raise structlog.DropEvent

    # -- a run -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The three parts."""
        plan, client = self.plan, self._client
        await make_topics(client, PREFIX, plan.partitions)
        if plan.is_compacted_soon:
            await client.alter_topic_configs({f"{PREFIX}.state": {"delete.retention.ms": "4000"}})
        await self._apply(1)
        for number in range(plan.machines):
            self.machines.append(Machine(self, f"m{number}"))
        await asyncio.sleep(0.3 + self.rng.random())
        traffic = Traffic(plan.requests, seed=self._seed, poison=plan.poison, teams=plan.teams)
        sending = asyncio.ensure_future(
            send_all(
                client,
                PREFIX,
                traffic,
                partitions=plan.partitions,
                per_second=plan.per_second,
            )
        )
        self.storm.is_over = False
        changing = asyncio.ensure_future(self._change_policies())
        intruding = asyncio.ensure_future(self._intrude())
        self.storm.strikes = [Strike(*strike) for strike in plan.strikes]
        for fault in plan.faults:
            await asyncio.sleep(self.rng.random() * 1.2)
            self.note("fault", fault)
            await getattr(self, f"_{fault}")()
        await sending
        self.storm.is_over = True
        await changing
        await intruding
        await self._calm_end()

    async def _calm_end(self) -> None:
        self.storm.is_over = True
        self.storm.strikes = []
        self.worker_step_s = self.loop.cluster_step_s = 0.0
        for machine in self.machines:
            machine.disk.is_full = False
            machine.process.is_stopped = False
            machine.process.clock_step_s = 0.0
        self.note("calm")
        try:
            await until_committed(self._client, PREFIX, timeout_s=FINISH_S)
        except TimeoutError:
            self.found.problem("unfinished", f"not all was in the ledger after {FINISH_S} s")
        for machine in self.machines:
            await machine.stop()

    async def check(self) -> Findings:
        """Everything that must be true afterwards."""
        topics = await read_topics(self._client, PREFIX)
        log = self.cluster.log(f"{PREFIX}.policies", 0)
        gone = [e for e in log.compacted if e.status == "committed"]
        topics.policies = sorted([*topics.policies, *gone], key=lambda record: record.offset)
        topics.authored = self.intruder.authored if self.plan.is_signed else None
        found = check(
            topics,
            self._versions,
            poison=len(self.plan.poison),
            company_usd=self.plan.company_usd,
        )
        found.problems.update(self.found.problems)
        for records in topics.leases.values():
            for record in records:
                said = events.decode_lease(record.value or b"")
                did = {"grant": "granted", "recall": "recalled", "repay": "repaid"}.get(said.kind)
                if did and (said.amount_usd_nano or did == "recalled"):
                    self.storm.marks.sometimes(f"slice {did}")
        found.examples.update(self.found.examples)
        if "unfinished" not in found.problems:
            self._check_tables(found)
        return found

    def _check_tables(self, found: Findings) -> None:
        """Each table on each disk is the fold of the changelogs up to the offsets that stand in it, and not ahead."""
        for machine in self.machines:
            for partition, (meta, rows) in machine.disk.stored().items():
                expected, to_come = self._fold(partition, meta.positions)
                kept = {key: value for key, value in rows.items() if key not in to_come}
                if kept != expected:
                    where = f"{machine.name} {partition}"
                    differs = _difference(expected, kept)
                    found.problem("a table is not the changelog's fold", (where, differs))

    def _fold(
        self, partition: int, positions: Mapping[str, int]
    ) -> tuple[dict[str, bytes], set[str]]:
        """
        The rows that the changelogs come to at *positions*, and the keys that are written again later.

        Of the latter what was before may be compacted away already, so that nobody can say whether a table has it.
        """
        folded: dict[str, bytes | None] = {}
        to_come: set[str] = set()
        for name in ("state", "calls"):
            log = self.cluster.log(f"{PREFIX}.{name}", partition)
            for entry in sorted([*log.entries, *log.compacted], key=lambda e: e.offset):
                key = (entry.key or b"").decode()
                if entry.status == "committed" and entry.offset < positions[name]:
                    folded[key] = entry.value
                elif entry.status == "committed":
                    to_come.add(key)
        rows = {k: v for k, v in folded.items() if v is not None and k not in to_come}
        return rows, to_come

    async def _apply(self, version: int) -> None:
        change = await change_policies(
            self._client,
            PREFIX,
            version,
            company_usd=self.plan.company_usd,
            signing=self.intruder.author,
        )
        self._versions[change.digest] = version
        self.intruder.saw(change.offset)

    async def _intrude(self) -> None:
        """Somebody who can write the policy topic, and has no key, does so all the while."""
        rng = random.Random(f"{self._seed} intruder")
        while self.plan.is_signed and not self.storm.is_over:
            await asyncio.sleep(0.1 + rng.random() * 0.6)
            self.note("intrudes", await self.intruder.write(rng))

    async def _change_policies(self) -> None:
        rng = random.Random(f"{self._seed} policies")
        version = 1
        while not self.storm.is_over:
            await asyncio.sleep(0.2 + rng.random() * 1.5)
            version += 1
            await self._apply(version)
            self.storm.marks.sometimes("policy changed")

    # -- faults ----------------------------------------------------------------------------------------------

    def _one(self) -> Machine:
        alive = [m for m in self.machines if m.process.is_alive and m.is_wanted]
        return self.rng.choice(alive or self.machines)

    def _mark(self, what: str) -> None:
        self.storm.marks.sometimes(f"fault {what}")

    async def _kill(self) -> None:
        """SIGKILL at any moment; back at once, or after its session."""
        machine = self._one()
        machine.pause_s = self.rng.choice((0.0, 0.2, SESSION_MS / 1000 + 0.5))
        machine.process.kill()
        self._mark("kill")

    async def _stall(self) -> None:
        """Stopped for longer than its session, then it goes on, and must send nothing."""
        process = self._one().process
        process.is_stopped = True
        await asyncio.sleep(SESSION_MS / 1000 * (1.2 + self.rng.random()))
        process.is_stopped = False
        self._mark("stall")

    async def _nap(self) -> None:
        """Stopped for less than its session."""
        process = self._one().process
        process.is_stopped = True
        await asyncio.sleep(SESSION_MS / 1000 * 0.6 * self.rng.random())
        process.is_stopped = False
        self._mark("nap")

    async def _deaf(self) -> None:
        """It loses its seat unnoticed, and goes on deciding what is others'."""
        broker = self._one().broker
        if broker is not None and broker.memberships:
            broker.memberships[-1].is_deaf = True
            await asyncio.sleep(SESSION_MS / 1000 * 1.5)
            self._mark("deaf")

    async def _refuse(self) -> None:
        """The broker refuses much, for a moment."""
        self.storm.odds = Odds(refused=0.2)
        await asyncio.sleep(0.2 + 0.6 * self.rng.random())
        self.storm.odds = Odds()
        self._mark("refuse")

    async def _silence(self) -> None:
        """Answers are lost, for a moment."""
        self.storm.odds = Odds(unanswered=0.2)
        await asyncio.sleep(0.2 + 0.6 * self.rng.random())
        self.storm.odds = Odds()
        self._mark("silence")

    async def _lose_disk(self) -> None:
        """The machine dies, and its folder with it."""
        machine = self._one()
        machine.process.kill()
        machine.disk.lose()
        self._mark("lose_disk")

    async def _damage_disk(self) -> None:
        """Tables become unreadable, under a running worker."""
        self._one().disk.damage()
        self._mark("damage_disk")

    async def _fill_disk(self) -> None:
        """No room for a while: the worker stops, and is started in vain until there is."""
        machine = self._one()
        machine.disk.is_full = True
        await asyncio.sleep(0.3 + self.rng.random())
        machine.disk.is_full = False
        self._mark("fill_disk")

    async def _old_disk(self) -> None:
        """An older copy of the folder comes back."""
        machine = self._one()
        machine.disk.remember()
        await asyncio.sleep(0.5 + self.rng.random())
        machine.process.kill()
        machine.disk.put_back()
        self._mark("old_disk")

    async def _step_worker_clock(self) -> None:
        """A worker's clock jumps, now and then so far that every record seems to come from the future."""
        self.worker_step_s = self.rng.choice((-90.0, -20.0, 30.0, 3600.0))
        machine = self._one()
        machine.process.clock_step_s = self.worker_step_s
        await asyncio.sleep(0.5 + self.rng.random())
        machine.process.clock_step_s = self.worker_step_s = 0.0
        self._mark("step_worker_clock")

    async def _step_broker_clock(self) -> None:
        """Append times go back, or ahead."""
        self.loop.cluster_step_s += self.rng.uniform(-4, 4)
        self._mark("step_broker_clock")

    async def _compact(self) -> None:
        """The cleaner comes by."""
        gone = 0
        for topic in (f"{PREFIX}.state", f"{PREFIX}.calls", f"{PREFIX}.policies"):
            retention_ms = int(self.cluster.configs[topic].get("delete.retention.ms", 86_400_000))
            for log in self.cluster.topics[topic].values():
                gone += log.compact(
                    below=log.end - self.rng.randrange(30),
                    tombstones_before_ms=self.cluster.time_ms() - retention_ms,
                )
        if gone:
            self._mark("compact")

    async def _stop(self) -> None:
        """A planned stop, and started again."""
        machine = self._one()
        if machine.worker is not None and machine.process.is_alive:
            machine.worker.stop()
            self._mark("stop")

    async def _scale(self) -> None:
        """One more machine; and later one less."""
        self.machines.append(Machine(self, f"m{len(self.machines)}"))
        await asyncio.sleep(0.5 + self.rng.random())
        leaving = self.rng.choice(self.machines[:-1])
        if leaving.is_wanted and not leaving.process.is_stopped:
            await leaving.stop()
        self._mark("scale")


def _difference(expected: dict[str, bytes], rows: dict[str, bytes]) -> str:
    """How a table differs, in few words."""
    missing, more = expected.keys() - rows.keys(), rows.keys() - expected.keys()
    other = [key for key in rows.keys() & expected.keys() if rows[key] != expected[key]]
    return f"missing {sorted(missing)[:3]}, more {sorted(more)[:3]}, other {sorted(other)[:3]}"


def simulate(seed: int, faults: Sequence[str] = (), company: int | None = None) -> Outcome:
    """Run *seed*, and check what it has left."""
    universe = Universe(seed, draw(seed, faults, company))
    outcome = Outcome(seed)
    before = structlog.get_config()
    structlog.configure(processors=[universe.log], cache_logger_on_first_use=False)
    try:
        with simulated_clock(universe.loop):
            try:
                universe.loop.run_until_complete(universe.run())
                outcome.found = universe.loop.run_until_complete(universe.check())
            except StuckError as error:
                universe.found.problem("stuck", error)
                outcome.found = universe.found
            finally:
                outcome.trace = list(universe.trace)
                outcome.virtual_s = universe.loop.time()
                _digest_logs(universe)
                universe.loop.bury()
    finally:
        structlog.configure(**before)
    outcome.marks = dict(universe.storm.marks.seen)
    outcome.digest = universe.digest.hexdigest()
    return outcome


def _digest_logs(universe: Universe) -> None:
    for topic, logs in sorted(universe.cluster.topics.items()):
        for number, log in logs.items():
            for entry in log.entries:
                place = f"{topic}-{number}-{entry.offset} {entry.timestamp} {entry.status}"
                universe.digest.update(place.encode() + (entry.value or b""))
