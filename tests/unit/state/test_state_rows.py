"""Keys of rows."""

from hypothesis import given
from hypothesis import strategies as st

from enforcer import state
from enforcer.state.rows import PART_BYTES_MAX

TEXT = st.text(st.sampled_from("ab%/|#*é"), max_size=6)
VALUES = st.lists(st.none() | TEXT, max_size=3)


def test_keys_read_as_the_wire_says() -> None:
    """The key of a row is plain text: kind, account, policy, id, key, window."""
    key = state.budget_key("acme", "guard", "team-day", state.key_part(["t1"]), "2026-11-23")

    assert key == "b/acme/guard/team-day/t1/2026-11-23"
    assert state.rate_key("acme/t 1", "p", "i", state.key_part([])) == "r/acme%2Ft 1/p/i/"
    assert state.call_row_key("acme", "r/1", 2) == "c/acme/r%2F1/2"
    assert state.waiting_key("acme", "r1", 1) == "u/acme/r1/1"
    assert state.waiting_key_of("c/acme/r%2F1/2") == "u/acme/r%2F1/2"


@given(account=TEXT, policy=TEXT, limit_id=TEXT, values=VALUES)
def test_keys_can_be_taken_apart(account, policy, limit_id, values) -> None:
    """Parsing gives back what a key was made of, whatever characters it holds."""
    part = state.key_part(values)
    budget = state.parse_budget_key(state.budget_key(account, policy, limit_id, part, "total"))
    rate = state.parse_rate_key(state.rate_key(account, policy, limit_id, part))
    call = state.parse_call_key(state.call_row_key(account, policy, 3))

    assert budget == (account, policy, limit_id, part, "total")
    assert rate == (account, policy, limit_id, part)
    assert call == (account, policy, 3)
    assert state.key_values(part) == values


@given(one=VALUES, other=VALUES)
def test_different_values_give_different_keys(one, other) -> None:
    """An absent value, an empty one, and no value at all are told apart, as are all others."""
    assert (state.key_part(one) == state.key_part(other)) == (one == other)


def test_keys_over_256_bytes_are_hashed() -> None:
    """LANGUAGE: keys over 256 bytes are hashed; 256 bytes are not, and bytes count, not letters."""
    assert state.key_part(["x" * PART_BYTES_MAX]) == "x" * PART_BYTES_MAX
    long = state.key_part(["x" * (PART_BYTES_MAX + 1)])
    assert long.startswith("#")
    assert len(long) == 65
    assert state.key_values(long) is None
    assert state.key_part(["é" * 129]).startswith("#")
    assert state.key_part(["é" * 128]) == "é" * 128
    assert len(state.call_row_key("acme", "r" * 10_000, 1)) < 80


def test_nothing_can_pass_for_a_hash() -> None:
    """A value that begins with the mark of a hash is encoded."""
    forged = "#" + "0" * 64
    assert not state.key_part([forged]).startswith("#")
    assert "/%23" in state.call_row_key("acme", forged, 1)


def test_memory_rows_hold_what_was_put() -> None:
    """MemoryRows get, put, delete, and list by prefix in order."""
    rows = state.MemoryRows()
    state.apply(rows, state.effects.Effect("reserve", "b/2", 5))
    state.apply(rows, state.effects.Effect("reserve", "b/1", 4))
    state.apply(rows, state.effects.Effect("take", "r/1", 1, at_us=1, limit=1, period_us=1))

    assert [key for key, _ in rows.items("b/")] == ["b/1", "b/2"]
    rows.delete("b/1")
    rows.delete("b/1")
    assert rows.get("b/1") is None
    assert [key for key, _ in rows.items()] == ["b/2", "r/1"]
