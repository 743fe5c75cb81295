"""The measuring rod of an event's cost: real tenures, as a worker has them."""

from enforcer import detect
from enforcer.bench import tenures, workload
from enforcer.bench.programs import programs


def test_every_event_is_taken_and_its_calls_are_counted():
    """A short run through four tenures, their tables and commits gives all four figures."""
    detect.warm()
    found = tenures.measure(programs(workload.documents()), rounds=1, count=80)

    assert set(found) == {
        "event_us",
        "event_best_us",
        "calls_per_event",
        "builtin_calls_per_event",
    }
    assert found["event_best_us"] <= found["event_us"]
    assert all(value > 1 for value in found.values())
