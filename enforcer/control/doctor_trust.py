"""The checks of ``doctor`` that concern trust: certificates, ACLs, files with secrets."""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import TYPE_CHECKING, Final

from enforcer.broker import acls, tls, topics
from enforcer.config import readable_by_others
from enforcer.control.doctor_line import Line, line
from enforcer.errors import AuthError, EnforcerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enforcer.broker import BrokerConfig, KafkaBroker
    from enforcer.broker.acls import Acl

ENDS_SOON: Final = dt.timedelta(days=30)
ROOT_OF_TRUST: Final = ("policies", "policy-history")
_WRITES: Final = frozenset({"Write", "All"})


async def certificates(config: BrokerConfig) -> Line:
    """How long those in use are still valid; without TLS, whether anybody can listen."""
    context = config.security.get("ssl_context")
    addresses = config.bootstrap.split(",")
    if context is None:
        if all(_is_loopback(address) for address in addresses):
            return Line("certificates", "ok", "no TLS, on the loopback interface")
        said = "no TLS: whoever is on the network reads prompts and passwords"
        return Line("certificates", "warn", said, "security.protocol=SASL_SSL in --kafka-config")
    try:
        found = [await tls.broker_certificate(address, context) for address in addresses]
        if config.certificate_file is not None:
            found.append(tls.own_certificate(config.certificate_file))
    except EnforcerError as error:
        return Line("certificates", "fail", error.message, error.help)
    first = min(found, key=lambda each: each.ends)
    left = first.ends - dt.datetime.now(dt.UTC)
    said = f"{first.subject} of {first.whose} ends {first.ends:%Y-%m-%d}, in {left.days} days"
    if left < dt.timedelta():
        return Line("certificates", "fail", said, "renew it")
    return Line("certificates", "warn" if left < ENDS_SOON else "ok", said, "renew it" if left < ENDS_SOON else "")  # fmt: skip


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def permissions(
    broker: KafkaBroker, prefix: str, *, group: str, principals: Mapping[str, str]
) -> list[Line]:
    """Whether each role may do what it must, and nobody but the policy author writes policies."""
    try:
        have = await broker.acls()
    except AuthError:
        said = "this principal may not look at ACLs"
        return [Line("ACLs", "warn", said, "run it as the role operator: enforcer topics acls --role operator")]  # fmt: skip
    if have is None:
        said = "the broker has no authorizer: whoever reaches it may write policies"
        return [Line("ACLs", "warn", said, "set authorizer.class.name, then enforcer topics acls --apply")]  # fmt: skip
    wanted = acls.required(topics.load_specs(), prefix=prefix, group=group, principals=principals)
    missing: dict[str, list[str]] = {}
    for each in wanted:
        if not acls.grants(have, each.acl):
            need = f"{each.operation} {each.resource} {each.name}"
            missing.setdefault(f"{each.role} {each.principal}", []).append(need)
    wrong = [
        f"{who} lacks {needs[0]}" + (f" and {len(needs) - 1} more" if len(needs) > 1 else "")
        for who, needs in missing.items()
    ]
    good = f"{len(wanted)} ACLs of {len(acls.ROLES)} roles are there"
    fix = "enforcer topics acls --apply, with --principal ROLE=NAME for names that are not the default"
    return [line("ACLs", wrong, good, fix), _root_of_trust(have, wanted, prefix)]


def _root_of_trust(have: list[Acl], wanted: list[acls.RoleAcl], prefix: str) -> Line:
    """Who can write policies rules everything; who can besides the policy author is named."""
    authors = {each.principal for each in wanted if each.role == "policy-author"}
    places = [f"{prefix}.{name}" for name in ROOT_OF_TRUST]
    others = sorted(
        {
            f"{acl.principal} may write {place}"
            for acl in have
            for place in places
            if acl.operation in _WRITES
            and acl.principal not in authors
            and acls.grants([acl], acls.Acl(acl.principal, "topic", place, "literal", "Write"))
        }
    )
    good = f"only {', '.join(sorted(authors))} writes policies"
    fix = "kafka-acls.sh --remove; and sign policies: docs/security.md"
    return line("root of trust", others, good, fix, bad="warn")


def secret_files(config: BrokerConfig) -> Line:
    """Whether others on this machine can read what nobody else should."""
    files = config.secret_files
    wrong = [f"{file} can be read by others" for file in files if readable_by_others(file)]
    good = f"{len(files)} files with secrets, readable by their owner" if files else "none in use"
    return line("secrets", wrong, good, "chmod 600 FILE", bad="warn")
