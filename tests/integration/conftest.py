"""The secured Kafka: one for all tests of a process, started by the first that asks."""

import pytest
import secured_kafka


@pytest.fixture(scope="session")
def secured(tmp_path_factory):
    """A broker with TLS, SASL and an authorizer (``secured_kafka``)."""
    running = secured_kafka.start(tmp_path_factory.mktemp("secured"))
    yield running
    running.stack.stop()


def pytest_collection_modifyitems(items):
    """A socket that some test left open is told, not held against the test in which it happens to be collected."""
    told = pytest.mark.filterwarnings("default::pytest.PytestUnraisableExceptionWarning")
    for item in items:
        if "integration" in item.path.parts:
            item.add_marker(told)
