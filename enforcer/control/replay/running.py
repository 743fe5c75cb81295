"""A replay as a whole: partitions side by side, each in a process of its own, added up."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer import detect, errors, events, policy
from enforcer.control.replay.differences import Findings
from enforcer.control.replay.fold import Fold, Start, groups, rare_collections
from enforcer.control.replay.policies import Candidate, History
from enforcer.control.replay.recording import FileRecording, Recording, TopicRecording
from enforcer.control.replay.whole import SharedBudgets, fold_together, spans_tenants

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from enforcer.broker import BrokerConfig

SMALL_RECORDS: Final = 1_500
"""Of the ledger. A process takes a second to start: fewer are done sooner without."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to replay, and under what. Goes to other processes as it is."""

    broker: BrokerConfig | None = None
    prefix: str = "enforcer"
    file: Path | None = None
    candidate: tuple[bytes, ...] | None = None
    """Encoded PolicyDocuments; None: the policies that were in force."""
    prune: bool = False
    since_us: int = 0
    offsets: Mapping[int, int] = field(default_factory=dict)
    pseudonym_key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of it: the sum, each partition's own, and how long it took, once vocabularies were loaded."""

    total: Findings
    partitions: list[Findings]
    seconds: float

    @property
    def live_seconds(self) -> float:
        """How long the traffic took that was decided again."""
        return max(0, self.total.end_us - self.total.begin_us) / 1e6

    @property
    def times_live(self) -> float:
        """How many times faster than the traffic came."""
        return self.live_seconds / self.seconds if self.seconds else 0.0


class _Done(NamedTuple):
    """One partition, and from when to when it took, by the machine's monotonic clock."""

    findings: Findings
    begun_s: float
    ended_s: float


class _Failure(NamedTuple):
    """An error on its way between processes."""

    kind: str
    message: str
    code: str
    help: str


def candidate_of(documents: Sequence[policy.Document]) -> tuple[bytes, ...]:
    """*documents* as a job carries them."""
    return tuple(events.encode_policy_document(d.to_record()) for d in documents)


def opened(job: Job) -> Recording:
    """The job's records. Raises: NotFoundError, UnavailableError, IntegrityError."""
    if job.file is not None:
        return FileRecording(job.file)
    assert job.broker is not None
    return TopicRecording(job.broker, job.prefix)


def history_of(recording: Recording) -> History:
    """The documents behind every digest."""
    history = History()
    for record in recording.records("policy-history", 0):
        history.add(record.value)
    return history


def replay(
    job: Job, *, processes: int, told: Callable[[int, int], None] = lambda *_: None
) -> Replayed:
    """
    Replay all partitions.

    Args:
        job: What.
        processes: How many at most.
        told: Partitions done, and of how many.

    Raises: IntegrityError where something recorded cannot be decided again; PolicyError for a candidate that
    does not check together with what was in force; UnavailableError, NotFoundError.
    """
    recording = opened(job)
    try:
        count = recording.partitions
        if job.candidate is not None:
            history = history_of(recording)
            if spans_tenants([*history.all_documents(), *_documents(job.candidate)]):
                return _together(job, recording, history, told)
        is_small = recording.ledger_size() < SMALL_RECORDS
        if processes < 2 or count < 2 or is_small:
            detect.warm()
            begun_s = time.perf_counter()
            history = history_of(recording)
            found: list[Findings] = []
            for partition in range(count):
                found.append(fold_of(job, recording, history, partition).run())
                told(len(found), count)
            return _added(found, job, time.perf_counter() - begun_s)
    finally:
        recording.close()
    found, spans = [], []
    with ProcessPoolExecutor(min(processes, count), mp_context=get_context("spawn")) as pool:
        for done in pool.map(_one, [(job, partition) for partition in range(count)]):
            if isinstance(done, _Failure):
                pool.shutdown(cancel_futures=True)
                raise _raised(done)
            found.append(done.findings)
            spans.append((done.begun_s, done.ended_s))
            told(len(found), count)
    # The clock is the machine's, the same in every process; loading them is not replaying.
    seconds = max(ended for _, ended in spans) - min(begun for begun, _ in spans)
    return _added(found, job, seconds)


def _together(
    job: Job, recording: Recording, history: History, told: Callable[[int, int], None]
) -> Replayed:
    """All partitions in one order, in this process: budgets of whole tenants are one account."""
    detect.warm()
    begun_s = time.perf_counter()
    count, shared = recording.partitions, SharedBudgets()
    with contextlib.ExitStack() as stack:
        # A file is held by partition, and here all of them are read at once.
        each = [
            recording
            if job.file is None
            else stack.enter_context(contextlib.closing(FileRecording(job.file)))
            for _ in range(count)
        ]
        stack.enter_context(rare_collections())
        found = fold_together(
            (
                fold_of(job, own, history, partition, shared=shared),
                groups(own.records("audit", partition)),
            )
            for partition, own in enumerate(each)
        )
    told(count, count)
    return _added(found, job, time.perf_counter() - begun_s)


def _documents(candidate: tuple[bytes, ...]) -> list[policy.Document]:
    return [policy.Document.from_record(events.decode_policy_document(d)) for d in candidate]


def fold_of(
    job: Job,
    recording: Recording,
    history: History,
    partition: int,
    *,
    shared: SharedBudgets | None = None,
) -> Fold:
    """The fold of one partition, as *job* wants it."""
    candidate = None
    if job.candidate is not None:
        candidate = Candidate(_documents(job.candidate), prune=job.prune)
    return Fold(
        recording,
        history,
        partition,
        candidate=candidate,
        start=Start(job.since_us, job.offsets.get(partition, 0)),
        pseudonym_key=job.pseudonym_key,
        shared=shared,
    )


def _added(found: list[Findings], job: Job, seconds: float) -> Replayed:
    total = Findings(-1, is_candidate=job.candidate is not None)
    for each in found:
        total.add(each)
    return Replayed(total, found, seconds)


def _one(task: tuple[Job, int]) -> _Done | _Failure:
    """One partition, in a process of its own."""
    job, partition = task
    try:
        detect.warm()
        begun_s = time.monotonic()
        recording = opened(job)
        try:
            found = fold_of(job, recording, history_of(recording), partition).run()
            return _Done(found, begun_s, time.monotonic())
        finally:
            recording.close()
    except errors.EnforcerError as error:
        return _Failure(type(error).__name__, error.message, error.code, error.help)


def _raised(failure: _Failure) -> errors.EnforcerError:
    kind = getattr(errors, failure.kind, errors.IntegrityError)
    if issubclass(kind, errors.PolicyError):
        span = errors.Span("candidate")
        return errors.PolicyError(failure.message, span=span, help=failure.help, code=failure.code)
    made: errors.EnforcerError = kind(failure.message, help=failure.help, code=failure.code)
    return made
