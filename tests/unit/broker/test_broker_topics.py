"""Topics: what the files say, and what differs from a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from enforcer.broker.ports import TopicInfo
from enforcer.broker.topics import (
    Difference,
    TopicSpec,
    common_partitions,
    load_specs,
    plan,
    settings_of,
)
from enforcer.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

REQUESTS = TopicSpec("requests", None, {"cleanup.policy": "compact,delete", "segment.ms": "5"})
POLICIES = TopicSpec("policies", 1, {})


def info(name: str, partitions: int, replication: int = 1, **config: str) -> TopicInfo:
    settings = {key.replace("_", "."): value for key, value in config.items()}
    return TopicInfo(name, "0" * 32, partitions, replication, settings)


def test_the_packaged_topics_are_those_of_the_wire() -> None:
    """Every topic of the contract has its file, policies one partition, inputs the broker's time."""
    specs = {spec.name: spec for spec in load_specs()}

    assert set(specs) == {
        "requests", "usage", "leases", "decisions", "audit", "state", "calls", "policies",
        "policy-history", "policy-acks", "dead-letters",
    }  # fmt: skip
    assert specs["policies"].partitions == 1
    for name in ("requests", "usage", "leases", "decisions"):
        assert specs[name].config["message.timestamp.type"] == "LogAppendTime"
    assert specs["state"].config["cleanup.policy"] == "compact"
    assert all(isinstance(value, str) for spec in specs.values() for value in spec.config.values())


def test_plan_names_each_difference() -> None:
    """Missing topics, wrong settings and wrong partition counts; foreign settings are the operator's."""
    actual = {
        "e.requests": info(
            "e.requests", 6, cleanup_policy="delete,compact", segment_ms="7", retention_ms="1"
        )
    }
    found = plan([REQUESTS, POLICIES], actual, prefix="e", partitions=4)

    assert found == [
        Difference("e.requests", "partitions", "partitions", "4", "6"),
        Difference("e.requests", "setting", "segment.ms", "5", "7"),
        Difference("e.policies", "missing", "", "1", None),
    ]
    assert [difference.fixable for difference in found] == [False, True, True]
    assert str(found[1]) == "e.requests: segment.ms is 7, not 5"
    assert str(found[2]) == "e.policies does not exist"


def test_with_three_replicas_a_write_must_reach_two() -> None:
    """A lone acknowledged replica could die with the only copy of a ledger record."""
    assert settings_of(POLICIES, 1) == {}
    assert settings_of(POLICIES, 3) == {"min.insync.replicas": "2"}
    found = plan([POLICIES], {"e.policies": info("e.policies", 1, 3)}, prefix="e", partitions=4)
    assert [difference.setting for difference in found] == ["min.insync.replicas"]


def test_the_common_number_follows_what_exists() -> None:
    """Asked for goes first, then what the topics have, then twelve."""
    actual = {"e.requests": info("e.requests", 4), "e.policies": info("e.policies", 1)}

    def number(actual: dict[str, TopicInfo], asked: int | None) -> int:
        return common_partitions([REQUESTS, POLICIES], actual, prefix="e", asked=asked)

    assert number(actual, 6) == 6
    assert number(actual, None) == 4
    assert number({}, None) == 12


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\npartitions: 0\nconfig: {}", "a number above 0"),
        ("name: x\npartitions: true\nconfig: {}", "a number above 0"),
        ("partitions: 1\nconfig: {}", "`name` and `config` are required"),
        ("name: x\npartitions: 1\nconfg: {}", "unknown field `confg`"),
        ("- x", "expected a mapping"),
        ("a: b: c", ":1: "),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, text: str, says: str) -> None:
    """The file is named, and what is wrong in it."""
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_specs(tmp_path)
    assert says in caught.value.message
    assert "x.yaml" in caught.value.message


def test_an_empty_directory_is_a_mistake(tmp_path: Path) -> None:
    """No specifications at all is never what was meant."""
    with pytest.raises(ConfigError):
        load_specs(tmp_path)
