"""What flows where, as data."""

from pathlib import Path

import pytest

from enforcer.stream.topology import ENFORCEMENT, INPUTS, PARTITIONED, Node, Topology

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "topology.txt"


def test_the_topology_is_the_one_that_was_agreed():
    """A change of what flows where shows in a text, and is made there too."""
    assert ENFORCEMENT.describe() == GOLDEN.read_text()


def test_data_flows_one_way():
    """Nothing that is written is read, but for the changelogs, by tables, and what agents say to each other."""
    read = set(ENFORCEMENT.topics("input", "table"))
    assert read & set(ENFORCEMENT.topics("fast", "ledger")) == {"state", "calls", "leases"}
    assert ENFORCEMENT.topics("input") == INPUTS


def test_topics_that_share_their_partitions_are_all_in_it():
    """What must be partitioned alike is what agents own."""
    assert set(PARTITIONED) <= set(ENFORCEMENT.topics())
    assert len(ENFORCEMENT.topics()) == len(set(ENFORCEMENT.topics()))


def test_a_node_names_only_nodes_above_it():
    """A topology reads from top to bottom; one with a way back is a bug."""
    with pytest.raises(AssertionError):
        Topology("t", (Node("a", "step", inputs=("b",)), Node("b", "input", "b")))
