"""
Who may do what: the exact ACLs of each role, derived from ``topics/``.

A file of ``topics/`` names the parties that write and read its topic; what else a role needs (its group, its
transactional ids, a look at settings) stands here. Nothing is granted by a pattern but the agents' transactional ids,
which are as many as partitions. Describe is not listed where Read or Write implies it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from enforcer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from enforcer.broker.topics import TopicSpec

Role = Literal["gateway", "worker", "policy-author", "auditor", "replay", "operator"]
Resource = Literal["topic", "group", "transactional-id", "cluster"]
Pattern = Literal["literal", "prefixed"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)
PARTIES: Final[Mapping[str, Role]] = {
    "gateways": "gateway",
    "agents": "worker",
    "policy administrators": "policy-author",
    "auditors": "auditor",
    "replay": "replay",
    "operators": "operator",
}
"""The words of ``topics/``, and the role of each."""

CLUSTER: Final = "kafka-cluster"
_IMPLIED_BY: Final = frozenset({"Read", "Write", "Delete", "Alter"})


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """One permission: *principal* may do *operation* on the resource, from any host."""

    principal: str
    resource: Resource
    name: str
    pattern: Pattern
    operation: str


@dataclass(frozen=True, slots=True)
class RoleAcl:
    """An ACL, and the role that needs it."""

    role: Role
    principal: str
    resource: Resource
    name: str
    pattern: Pattern
    operation: str

    @property
    def acl(self) -> Acl:
        """As the broker has it."""
        return Acl(self.principal, self.resource, self.name, self.pattern, self.operation)


def policies_transactional_id(prefix: str) -> str:
    """Who changes policies holds this id; no agent's ``<group>-<partition>`` begins like it, whatever the group."""
    return f"{prefix}.policies"


def required(
    specs: Sequence[TopicSpec],
    *,
    prefix: str,
    group: str,
    principals: Mapping[str, str] | None = None,
    roles: Iterable[Role] = ROLES,
) -> list[RoleAcl]:
    """
    What each of *roles* needs, and no more, by role, resource and name.

    Args:
        specs: The topics.
        prefix: Of the topics' names.
        group: The workers' consumer group.
        principals: Role to ``User:…``; a role that is missing is ``User:<prefix>-<role>``.
        roles: Which.
    """
    named = {role: f"User:{prefix}-{role}" for role in ROLES} | dict(principals or {})
    needs = {
        role: sorted(_needs(role, specs, prefix=prefix, group=group), key=_order) for role in roles
    }
    return [
        RoleAcl(role, named[role], resource, name, pattern, operation)
        for role, found in needs.items()
        for resource, name, pattern, operation in found
    ]


_Need = tuple[Resource, str, Pattern, str]


def _order(need: _Need) -> tuple[int, str, str]:
    return (get_args(Resource).index(need[0]), need[1], need[3])


def _needs(role: Role, specs: Sequence[TopicSpec], *, prefix: str, group: str) -> set[_Need]:
    needs: set[_Need] = set()
    for spec in specs:
        topic = f"{prefix}.{spec.name}"
        needs.update(("topic", topic, "literal", each) for each in _on_topic(role, spec))
    if role == "worker":
        needs.add(("group", group, "literal", "Read"))
        needs.add(("transactional-id", f"{group}-", "prefixed", "Write"))
    elif role == "policy-author":
        # As many agents are waited for as there are partitions.
        needs.add(("topic", f"{prefix}.requests", "literal", "Describe"))
        needs.add(("transactional-id", policies_transactional_id(prefix), "literal", "Write"))
    elif role == "operator":
        needs.add(("cluster", CLUSTER, "literal", "Describe"))  # To look at ACLs.
        needs.add(("group", group, "literal", "Describe"))
    return needs


def _on_topic(role: Role, spec: TopicSpec) -> Iterator[str]:
    """What *role* does to the topic itself."""
    if role in {PARTIES.get(party) for party in spec.writers}:
        yield "Write"
    if role in {PARTIES.get(party) for party in spec.readers}:
        yield "Read"
    if role == "worker" and (spec.partitions is None or "agents" in spec.readers):
        yield "DescribeConfigs"  # Are the topics such that agents may run on them?
    if role == "operator":
        yield from ("Create", "Describe", "DescribeConfigs", "AlterConfigs")


def grants(have: Iterable[Acl], wanted: Acl) -> bool:
    """Whether *have* allows *wanted*, by itself, by a pattern, by ``All``, or by what implies it."""
    operations = {wanted.operation, "All"}
    if wanted.operation == "Describe":
        operations |= _IMPLIED_BY
    if wanted.operation == "DescribeConfigs":
        operations.add("AlterConfigs")
    return any(
        acl.principal in {wanted.principal, "User:*"}
        and acl.resource == wanted.resource
        and acl.operation in operations
        and _covers(acl, wanted)
        for acl in have
    )


def _covers(acl: Acl, wanted: Acl) -> bool:
    if acl.pattern == "prefixed":
        return wanted.name.startswith(acl.name)
    return acl.name == "*" or (acl.name == wanted.name and wanted.pattern == "literal")


def script(found: Sequence[RoleAcl]) -> list[str]:
    """The lines of ``kafka-acls.sh`` that grant *found*, one for each principal and resource."""
    together: dict[tuple[str, Resource, str, Pattern], list[str]] = {}
    for each in found:
        place = (each.principal, each.resource, each.name, each.pattern)
        together.setdefault(place, []).append(each.operation)
    lines = []
    for (principal, resource, name, pattern), operations in together.items():
        where = "--cluster" if resource == "cluster" else f"--{resource} '{name}'"
        kind = " --resource-pattern-type prefixed" if pattern == "prefixed" else ""
        what = " ".join(f"--operation {operation}" for operation in operations)
        lines.append(
            'kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config "$ADMIN_CONFIG" '
            f"--add --allow-principal '{principal}' {what} {where}{kind}"
        )
    return lines


def checked_principals(given: Iterable[str]) -> dict[str, str]:
    """
    ``ROLE=NAME`` as role to principal; a name without a type is a ``User``.

    Raises: ConfigError, for a role that there is not, or a name that would break out of its quotes.
    """
    found: dict[str, str] = {}
    for text in given:
        role, separator, name = text.partition("=")
        if not separator or role not in ROLES or not name:
            raise ConfigError(f"`{text}`: write ROLE=NAME", help=f"roles are {', '.join(ROLES)}")
        if any(c in "'\\" or not c.isprintable() for c in name):
            raise ConfigError(f"`{name}` is no name of a principal", help="without ' and \\")
        found[role] = name if name.startswith("User:") else f"User:{name}"
    return found
