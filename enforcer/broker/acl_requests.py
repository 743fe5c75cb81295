"""
DescribeAcls and CreateAcls, version 1 both: aiokafka has them for one ACL at a time and does not read the answer.

Numbers: https://kafka.apache.org/protocol, and org.apache.kafka.common.{acl,resource} for what they mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiokafka.protocol.admin import (
    CreateAclsResponse_v1,
    DescribeAclsRequest,
    DescribeAclsResponse_v1,
)
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.types import Array, Int8, Schema, String

from enforcer.broker.acls import Acl

if TYPE_CHECKING:
    from collections.abc import Sequence

_RESOURCES: Final = {"topic": 2, "group": 3, "cluster": 4, "transactional-id": 5}
_PATTERNS: Final = {"literal": 3, "prefixed": 4}
_OPERATIONS: Final = {
    "All": 2,
    "Read": 3,
    "Write": 4,
    "Create": 5,
    "Delete": 6,
    "Alter": 7,
    "Describe": 8,
    "ClusterAction": 9,
    "DescribeConfigs": 10,
    "AlterConfigs": 11,
    "IdempotentWrite": 12,
}
_ANY, _ALLOW = 1, 3
_ANY_HOST: Final = "*"


class _CreateAclsStruct(RequestStruct):  # type: ignore[misc] # aiokafka is untyped
    API_KEY = 30
    API_VERSION = 1
    RESPONSE_TYPE = CreateAclsResponse_v1
    SCHEMA = Schema(
        (
            "creations",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                ("resource_pattern_type", Int8),
                ("principal", String("utf-8")),
                ("host", String("utf-8")),
                ("operation", Int8),
                ("permission_type", Int8),
            ),
        )
    )


class CreateAcls(Request[_CreateAclsStruct]):  # type: ignore[misc] # aiokafka is untyped
    """Grant some ACLs; those that are there already stay."""

    API_KEY = 30

    def __init__(self, wanted: Sequence[Acl]) -> None:
        self._wanted = wanted

    def build(self, request_struct_class: Any) -> Any:
        """See ``Request``."""
        return request_struct_class(
            [
                (
                    _RESOURCES[acl.resource],
                    acl.name,
                    _PATTERNS[acl.pattern],
                    acl.principal,
                    _ANY_HOST,
                    _OPERATIONS[acl.operation],
                    _ALLOW,
                )
                for acl in self._wanted
            ]
        )


def describe_all() -> Any:
    """Ask for every ACL there is."""
    return DescribeAclsRequest(_ANY, None, _ANY, None, None, _ANY, _ANY)


def granted(answer: DescribeAclsResponse_v1) -> list[Acl]:
    """What the answer allows from any host; denials and kinds of resources that are not ours are passed over."""
    resources = {number: name for name, number in _RESOURCES.items()}
    patterns = {number: name for name, number in _PATTERNS.items()}
    operations = {number: name for name, number in _OPERATIONS.items()}
    return [
        Acl(principal, resources[kind], name, patterns[pattern], operations[operation])  # type: ignore[arg-type]
        for kind, name, pattern, rows in answer.resources
        for principal, host, operation, permission in rows
        if permission == _ALLOW
        and host == _ANY_HOST
        and kind in resources
        and pattern in patterns
        and operation in operations
    ]
