"""``doctor``: is this installation ready, and what is to be done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enforcer.cli.broker_options import (
    BootstrapOption,
    GroupOption,
    KafkaConfigOption,
    PrefixOption,
    PrincipalOption,
    resolve,
)
from enforcer.cli.output import OutputFormat, OutputOption, emit, note, write
from enforcer.cli.policy_keys import PolicyKeysOption, verifier_of
from enforcer.config import Settings

EXIT_NOT_READY = 8
_SIGNS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def doctor(
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", help="Of the worker that shall run here.", file_okay=False),
    ] = None,
    keys: PolicyKeysOption = None,
    group: GroupOption = None,
    principal: PrincipalOption = None,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> int:
    """
    Look at broker, versions, certificates, secrets, ACLs, topics, replication, clock, policies, agents, state directory, disk.

    Each line that is not ok says how to mend it.

    Exit code 0 if nothing fails, warnings or not; 8 if something does. Nothing is written to any topic.
    """
    import asyncio  # noqa: PLC0415 — help stays quick

    from enforcer.broker import acls, load  # noqa: PLC0415 — as above
    from enforcer.control.doctor import examine  # noqa: PLC0415 — as above
    from enforcer.telemetry import setup_logging  # noqa: PLC0415 — as above

    setup_logging("error")
    target = resolve(bootstrap, prefix, kafka_config=kafka_config)
    config = load(bootstrap=target.bootstrap, prefix=target.prefix, file=target.kafka_config)
    directory = state_dir or Settings.load().home / "worker" / target.prefix
    lines = asyncio.run(
        examine(
            config,
            target.prefix,
            directory,
            group=group,
            principals=acls.checked_principals(principal or ()),
            verifier=verifier_of(keys, target.prefix),
        )
    )
    failed = sum(line.status == "fail" for line in lines)
    if output is OutputFormat.TABLE:
        for line in lines:
            write(f"{_SIGNS[line.status]}  {line.check:<16}{line.message}")
            if line.fix:
                write(f"      fix: {line.fix}")
        note("ready" if not failed else f"not ready: {failed} checks fail")
    elif output is OutputFormat.JSON:
        emit({"ready": not failed, "checks": lines}, output)
    else:
        emit(lines, output)
    return EXIT_NOT_READY if failed else 0
