"""``topics acls``: the exact permissions of each role, to look at, to run, or to grant."""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, Annotated

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
from enforcer.config import Settings, checked_prefix

if TYPE_CHECKING:
    from enforcer.broker.acls import RoleAcl
    from enforcer.cli.broker_options import BrokerTarget


class RoleName(enum.StrEnum):
    """Who speaks to the broker."""

    GATEWAY = "gateway"
    WORKER = "worker"
    POLICY_AUTHOR = "policy-author"
    AUDITOR = "auditor"
    REPLAY = "replay"
    OPERATOR = "operator"


def acls(
    print_: Annotated[
        bool, typer.Option("--print", help="Print them; also what happens without it.")
    ] = False,
    script: Annotated[
        bool, typer.Option("--script", help="As lines for kafka-acls.sh instead.")
    ] = False,
    apply_: Annotated[
        bool,
        typer.Option("--apply", help="Grant them, as a principal that may alter the cluster."),
    ] = False,
    role: Annotated[
        list[RoleName] | None, typer.Option("--role", help="Of these roles only.")
    ] = None,
    principal: PrincipalOption = None,
    group: GroupOption = None,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    The exact ACLs of each role, and nothing beyond: what a principal needs to do its work.

    Only --apply speaks to a broker. Nothing that is granted already is taken away.
    """
    from enforcer.broker import acls as rules  # noqa: PLC0415 — help stays quick
    from enforcer.broker import topics  # noqa: PLC0415 — as above

    named = checked_prefix(prefix) if prefix is not None else Settings.load().prefix
    found = rules.required(
        topics.load_specs(),
        prefix=named,
        group=group or named,
        principals=rules.checked_principals(principal or ()),
        roles=[each.value for each in role] if role else rules.ROLES,
    )
    if print_ or not apply_:
        if script:
            for line in rules.script(found):
                write(line)
        else:
            emit(found, output)
    if apply_:
        asyncio.run(_grant(found, resolve(bootstrap, prefix, kafka_config=kafka_config)))
        note(f"{len(found)} ACLs granted")


async def _grant(found: list[RoleAcl], target: BrokerTarget) -> None:
    from enforcer.broker import KafkaBroker, load  # noqa: PLC0415 — as above

    config = load(bootstrap=target.bootstrap, prefix=target.prefix, file=target.kafka_config)
    async with KafkaBroker(config) as broker:
        await broker.grant([each.acl for each in found])
