"""How one worker runs. Every duration and size carries its unit in its name."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 — pydantic reads the annotation at run time
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class WorkerConfig(BaseModel):
    """The settings of one worker process. Frozen; unknown settings are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: str = "enforcer"
    group_id: str = "enforcer"
    instance_id: Annotated[str, Field(min_length=1, max_length=200)]
    state_dir: Path
    commit_interval_ms: Annotated[int, Field(ge=1, le=60_000)] = 100
    commits_per_second: Annotated[int, Field(ge=1, le=1_000)] = 40
    idle_commit_ms: Annotated[int, Field(ge=1_000)] = 3_600_000
    """A partition without input is committed this often: Kafka forgets an idle transactional id, a table grows old."""
    group_offsets_interval_ms: Annotated[int, Field(ge=0, le=60_000)] = 1_000
    """So far behind may the group's offsets be, which only lag tools read (docs/decisions/0020)."""
    commit_records_max: Annotated[int, Field(ge=1)] = 5_000
    commit_bytes_max: Annotated[int, Field(ge=1)] = 4 * 1024 * 1024
    uncommitted_records_max: Annotated[int, Field(ge=1)] = 20_000
    uncommitted_bytes_max: Annotated[int, Field(ge=1)] = 8 * 1024 * 1024
    uncommitted_ms_max: Annotated[int, Field(ge=1)] = 5_000
    slice_us: Annotated[int, Field(ge=100, le=1_000_000)] = 5_000
    lone_input_wait_ms: Annotated[int, Field(ge=0)] = 50
    queue_records_max: Annotated[int, Field(ge=1)] = 4_000
    """Of each of the two inputs of a partition, give or take one fetch; the bytes likewise."""
    queue_bytes_max: Annotated[int, Field(ge=1)] = 16 * 1024 * 1024
    cached_rows_max: Annotated[int, Field(ge=100)] = 100_000
    """Of all partitions of this process together."""
    future_timestamp_ms_max: Annotated[int, Field(ge=0)] = 60_000
    drain_timeout_ms: Annotated[int, Field(ge=100)] = 10_000
    handover_timeout_ms: Annotated[int, Field(ge=0)] = 5_000
    """A planned stop waits so long for others to take over before it drains and leaves all the same."""
    standbys: Annotated[int, Field(ge=0, le=8)] = 1
    """Workers that keep a warm copy of each partition's tables, where there are so many."""
    step_timeout_ms: Annotated[int, Field(ge=1_000)] = 30_000
    ack_timeout_ms: Annotated[int, Field(ge=1_000)] = 30_000
    policy_stale_ms_max: Annotated[int, Field(ge=2_000)] = 30_000
    """So long the policy table may not be known to be current; then each tenant's `on_stale_policies` holds."""
    fenced_wait_ms: Annotated[int, Field(ge=0)] = 2_000
    takeovers_in_a_row_max: Annotated[int, Field(ge=1)] = 12
    pseudonym_key: Annotated[bytes, Field(min_length=8)] = b"enforcer-unkeyed"
    redaction_key: Annotated[bytes, Field(min_length=16)] | None = None
    """Of the styles ``hash`` and ``pseudonym``; the same for all workers."""

    policy_keys: tuple[bytes, ...] = ()
    """Public keys in PEM of those who may change policies; with any, a record that none of them signed is refused."""

    @model_validator(mode="after")
    def _commit_fits_in_backlog(self) -> Self:
        # The inputs pause above the backlog: a commit that waits for more than that never comes.
        if self.commit_records_max > self.uncommitted_records_max:
            raise ValueError("commit_records_max must not be above uncommitted_records_max")
        if self.commit_interval_ms > self.uncommitted_ms_max:
            raise ValueError("commit_interval_ms must not be above uncommitted_ms_max")
        return self

    def topic(self, name: str) -> str:
        """The topic's full name under this installation's prefix."""
        return f"{self.prefix}.{name}"
