"""The secured Kafka: one for all tests of a process, started by the first that asks."""

import pytest
import secured_kafka


@pytest.fixture(scope="session")
def secured(tmp_path_factory):
    """A broker with TLS, SASL and an authorizer (``secured_kafka``)."""
    running = secured_kafka.start(tmp_path_factory.mktemp("secured"))
    yield running
    running.stack.stop()


LONGEST_FIRST = (
    "test_bench", "test_demo", "test_wheel", "test_repartition", "test_replay", "test_enforcement", "test_takeover",
)  # fmt: skip
"""What takes most of a minute or more, so that nobody begins it when all others are done."""


def pytest_collection_modifyitems(items):
    """The longest come first."""
    order = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
