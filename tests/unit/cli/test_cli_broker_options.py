"""Which broker a verb speaks to."""

from __future__ import annotations

from pathlib import Path

import pytest

from enforcer.cli import broker_options
from enforcer.config import Settings
from enforcer.errors import ConfigError, UnavailableError
from enforcer.local import Stack


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(home=tmp_path / "home", cache=tmp_path / "cache")


def with_bootstrap(settings: Settings, bootstrap: str) -> Settings:
    return Settings(home=settings.home, cache=settings.cache, bootstrap=bootstrap, prefix="p")


@pytest.fixture
def running(monkeypatch) -> None:
    """A local stack that runs."""
    monkeypatch.setattr(Stack, "running_bootstrap", lambda _: "127.0.0.1:1")


def test_the_option_goes_first(settings, running) -> None:
    """What is said on the command line counts, whatever else is set or runs."""
    target = broker_options.resolve("a:1", "x", settings=with_bootstrap(settings, "b:2"))

    assert (target.bootstrap, target.prefix) == ("a:1", "x")


def test_then_the_variable(settings, running) -> None:
    """Without an option, the environment."""
    target = broker_options.resolve(settings=with_bootstrap(settings, "b:2"))

    assert (target.bootstrap, target.prefix) == ("b:2", "p")


def test_then_the_running_local_stack(settings, running) -> None:
    """Without both, the local stack, with the default prefix."""
    target = broker_options.resolve(settings=settings)

    assert target == broker_options.BrokerTarget("127.0.0.1:1", "enforcer", None)


def test_no_broker_at_all_tells_of_up(settings) -> None:
    """Nothing named and nothing running is exit code 8, and the help names `enforcer up`."""
    with pytest.raises(UnavailableError) as caught:
        broker_options.resolve(settings=settings)

    assert caught.value.exit_code == 8
    assert "enforcer up" in caught.value.help


def test_a_bad_prefix_is_refused(settings) -> None:
    """A prefix that cannot begin a topic's name is a usage error."""
    with pytest.raises(ConfigError):
        broker_options.resolve("a:1", "a/b", settings=settings)


def test_the_file_of_the_option_goes_first(settings) -> None:
    """The same order holds for the file with TLS and SASL settings."""
    known = Settings(home=settings.home, cache=settings.cache, kafka_config=Path("/from/variable"))

    assert broker_options.resolve("a:1", settings=known).kafka_config == Path("/from/variable")
    option = broker_options.resolve("a:1", kafka_config=Path("/o"), settings=known)
    assert option.kafka_config == Path("/o")
