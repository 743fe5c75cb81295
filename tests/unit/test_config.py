"""Settings: what each variable means, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer import config
from enforcer.config import Settings, pseudonym_key, redaction_key
from enforcer.errors import ConfigError, IntegrityError

HOME = {"HOME": "/home/u"}


def test_defaults_follow_xdg() -> None:
    """Without variables, state and cache lie below the user's home where XDG puts them."""
    settings = Settings.load(HOME)

    assert settings.home == Path("/home/u/.local/state/enforcer")
    assert settings.cache == Path("/home/u/.cache/enforcer")
    assert settings.prefix == "enforcer"
    assert settings.bootstrap is None
    assert not settings.debug


def test_every_variable_is_read() -> None:
    """Each variable of the table sets its field."""
    settings = Settings.load(
        HOME
        | {
            "ENFORCER_BOOTSTRAP": "a:1,b:2",
            "ENFORCER_PREFIX": "team.x",
            "ENFORCER_KAFKA_CONFIG": "/etc/k.yaml",
            "ENFORCER_HOME": "/var/e",
            "ENFORCER_CACHE": "/var/c",
            "ENFORCER_MAVEN_URL": "http://mirror.invalid/m2",
            "M2_REPO": "/m2",
            "ENFORCER_REDACTION_KEY_FILE": "/etc/key",
            "ENFORCER_DEBUG": "1",
            "NO_COLOR": "x",
        }
    )

    assert settings == Settings(
        home=Path("/var/e"),
        cache=Path("/var/c"),
        bootstrap="a:1,b:2",
        prefix="team.x",
        kafka_config=Path("/etc/k.yaml"),
        maven_url="http://mirror.invalid/m2",
        maven_repository=Path("/m2"),
        redaction_key_file=Path("/etc/key"),
        debug=True,
        no_color=True,
    )


@pytest.mark.parametrize(
    "name", ["ENFORCER_BOOTSTRAP", "ENFORCER_HOME", "ENFORCER_PREFIX", "M2_REPO"]
)
def test_an_empty_variable_counts_as_absent(name: str) -> None:
    """A variable that is set to nothing changes nothing."""
    assert Settings.load(HOME | {name: ""}) == Settings.load(HOME)


def test_xdg_directories_are_used_if_absolute() -> None:
    """An absolute XDG directory is used, a relative one ignored, as its specification asks."""
    absolute = Settings.load(HOME | {"XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/c"})
    relative = Settings.load(HOME | {"XDG_STATE_HOME": "s", "XDG_CACHE_HOME": "c"})

    assert (absolute.home, absolute.cache) == (Path("/s/enforcer"), Path("/c/enforcer"))
    assert relative == Settings.load(HOME)


def test_a_relative_home_is_made_absolute() -> None:
    """A broker runs in another directory, so that a relative path would mean another place."""
    assert Settings.load(HOME | {"ENFORCER_HOME": "here"}).home == Path.cwd() / "here"


def test_no_home_directory_is_said_clearly(monkeypatch) -> None:
    """A user without a home directory is told which variables to set."""
    monkeypatch.setattr("os.path.expanduser", lambda text: text)

    with pytest.raises(ConfigError) as caught:
        Settings.load({})

    assert "ENFORCER_HOME" in caught.value.help


@given(st.text(alphabet="abzAZ09._-", min_size=1, max_size=200).filter(lambda t: t.strip(".")))
def test_a_legal_prefix_is_kept(prefix: str) -> None:
    """Whatever Kafka allows in the name of a topic may begin one."""
    assert config.checked_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["", ".", "..", "a b", "a/b", "ä", "a" * 201, "a\n"])
def test_an_illegal_prefix_is_refused(prefix: str) -> None:
    """What Kafka would refuse at the first topic is refused at the start, with exit code 2."""
    with pytest.raises(ConfigError) as caught:
        config.checked_prefix(prefix)

    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["schemas", "topics", "policies"])
def test_packaged_data_is_found(name: str) -> None:
    """Each packaged directory is found in a checkout."""
    assert config.data(name).is_dir()


def test_an_incomplete_installation_is_said(monkeypatch, tmp_path) -> None:
    """A wheel that lacks its data is an integrity error, not a traceback."""
    monkeypatch.setattr(config, "_PACKAGE", tmp_path / "enforcer")

    with pytest.raises(IntegrityError) as caught:
        config.data("topics")

    assert caught.value.exit_code == 9


def test_packaged_data_of_the_wheel_wins(monkeypatch, tmp_path) -> None:
    """In a wheel the data lie inside the package, whatever stands beside it."""
    inside = tmp_path / "enforcer" / "_data" / "topics"
    inside.mkdir(parents=True)
    (tmp_path / "topics").mkdir()
    monkeypatch.setattr(config, "_PACKAGE", tmp_path / "enforcer")

    assert config.data("topics") == inside


def test_a_child_environment_lacks_what_is_named(monkeypatch) -> None:
    """Only the named variables are taken away."""
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("GONE", "1")

    environment = config.environment_without("GONE")

    assert environment["KEPT"] == "1"
    assert "GONE" not in environment


def test_importing_the_settings_is_cheap() -> None:
    """`--help` reads the settings: they may not pull in pydantic or asyncio."""
    code = "import sys, enforcer.config; print([m for m in ('pydantic', 'asyncio') if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("read", [redaction_key, pseudonym_key])
def test_a_key_is_read_or_refused(read, tmp_path: Path) -> None:
    """No file is no key; one that is not there, or holds what is no key, is the operator's error."""
    file = tmp_path / "key"
    assert read(None) is None
    with pytest.raises(ConfigError, match="cannot be read"):
        read(file)
    file.write_bytes(b"short\n")
    with pytest.raises(ConfigError, match="shorter than 16"):
        read(file)
    file.write_bytes(bytes(range(256)) * 8)
    with pytest.raises(ConfigError, match="it has more than 1024 bytes"):
        read(file)
    file.write_bytes(b"0123456789abcdef\n")
    assert read(file) == b"0123456789abcdef"
