"""Stops by name, and who has a change in force."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer import events
from enforcer.control.acks import InForce
from enforcer.control.stops import stop_id
from enforcer.policy.shape import is_id

NAMES = st.dictionaries(
    st.sampled_from(["tenant", "model", "provider"]), st.text(min_size=1, max_size=200), min_size=1
)


@given(one=NAMES, other=NAMES)
def test_the_id_of_a_stop_is_that_of_its_names(one, other):
    """An id, whatever the names are; the same for the same names, and another for others."""
    assert is_id(stop_id(one))
    assert (stop_id(one) == stop_id(other)) == (one == other)


def ack(worker, offset, *partitions, invalid=()):
    return events.PolicyAck(
        worker, offset, partitions=list(partitions), invalid=dict.fromkeys(invalid, "broken")
    )


@pytest.mark.parametrize(
    ("acks", "agents", "missing"),
    [
        ([], 0, [0, 1, 2]),
        ([ack("a", 7, 0, 1, 2)], 0, [0, 1, 2]),
        ([ack("a", 8, 0, 2)], 2, [1]),
        ([ack("a", 8, 0, 2), ack("b", 9, 1)], 3, []),
        ([ack("a", 8, 0, 1), ack("b", 8, 1)], 2, [2]),
        ([ack("a", 8, 0, 99)], 1, [1, 2]),
    ],
)
def test_an_agent_counts_once_its_worker_is_past_the_change(acks, agents, missing):
    """By partition, whoever says it; what is said of a table before the change says nothing."""
    state = InForce(7, 3)
    for each in acks:
        state.take(each)
    assert (state.agents, state.missing) == (agents, missing)


def test_a_change_that_denies_its_scope_is_told():
    """In force and invalid: whoever waits hears of his own scopes, and of no other."""
    state = InForce(7, 1, frozenset({"acme"}))
    state.take(ack("a", 8, 0, invalid=["acme", "beta"]))
    assert (state.agents, state.invalid) == (1, {"acme": "broken"})
