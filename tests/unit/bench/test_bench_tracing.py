"""`bench tracing`: real tenures, the real SDK, a collector that is sent what was made."""

from enforcer.bench import tracing


def test_an_answer_has_both_ways_and_what_off_costs():
    """One round of few events: every figure is there, and spans are not free."""
    answer = tracing.measure(1, 400)
    figures = answer["figures"]
    assert set(figures) == {
        "event_us", "event_sampled_us", "sampled_share", "off_us", "off_share",
    }  # fmt: skip
    assert figures["event_us"] > 1
    assert figures["event_sampled_us"] > 1
    assert 0 <= figures["off_share"] < 1
    assert answer["baseline"]["event_us"] == figures["event_us"]
