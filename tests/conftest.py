"""
One real Kafka for the whole run, shared by all of pytest's processes.

Which one: ENFORCER_TEST_BOOTSTRAP, else a container if testcontainers is installed and a Docker
daemon answers, else the local stack. It starts when the first test asks for it. The controlling
process ends it, however the run ends; what a killed run left behind, the next run ends.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
import warnings
from pathlib import Path

import psutil
import pytest
from hypothesis import is_hypothesis_test, settings

from enforcer.config import Settings
from enforcer.local import KAFKA_VERSION, Stack, files, ports, probe

# A busy machine makes no law untrue. The same examples each time, so that a run fails for what was changed;
# `pytest --hypothesis-profile search` looks further.
settings.register_profile("enforcer", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=2_000)
settings.load_profile("enforcer")
# Modules, tests and what they hold are thousands of objects that live on: looked through a hundred times less often.
gc.set_threshold(50_000, 20, 100)
# Who is started in the background of a script ignores SIGINT, and so do its children: tests send it to theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
BOOTSTRAP_VARIABLE = "ENFORCER_TEST_BOOTSTRAP"
HOME_VARIABLE = "ENFORCER_TEST_HOME"
NAME = f"enforcer-tests-{os.getuid()}-"
RIMS = {"bench", "broker", "client", "local", "models", "store", "stream"}
SEARCHED_LONG = {"conformance", "detect", "policy"}
NO_SHARED_DATA = "NOT RUN, the shared data is missing: "


def pytest_configure(config: pytest.Config) -> None:
    """The controlling process chooses where the broker of this run lives."""
    if hasattr(config, "workerinput"):
        return
    end_brokers_left_behind()
    home = Path(tempfile.gettempdir()) / f"{NAME}{os.getpid()}"
    os.environ[HOME_VARIABLE] = str(home)
    # So that what follows a Ctrl-C follows SIGTERM as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The controlling process ends the broker, after a Ctrl-C too."""
    if not hasattr(config, "workerinput") and HOME_VARIABLE in os.environ:
        end_broker(Path(os.environ.pop(HOME_VARIABLE)))


def end_brokers_left_behind() -> None:
    """End the brokers of runs whose controlling process was killed."""
    for home in Path(tempfile.gettempdir()).glob(f"{NAME}*"):
        with contextlib.suppress(ValueError):
            if not psutil.pid_exists(int(home.name.removeprefix(NAME))):
                end_broker(home)


def end_broker(home: Path) -> None:
    """End what runs in *home*, and delete it."""
    container = home / "container"
    if container.exists():
        docker("rm", "--force", "--volumes", container.read_text())
    local_stack(home).stop()
    shutil.rmtree(home, ignore_errors=True)


def local_stack(home: Path) -> Stack:
    """The stack in *home*, with everyone's cache of jars."""
    known = Settings.load()
    return Stack(
        home,
        cache=known.cache,
        maven_url=known.maven_url,
        maven_repository=known.maven_repository,
    )


def docker(*arguments: str) -> bool:
    """Run the Docker client; False if it fails or is not there."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["docker", *arguments], capture_output=True, timeout=20, check=False)
        return done.returncode == 0
    return False


def which_broker() -> str:
    """``given``, ``container`` or ``local stack``."""
    if os.environ.get(BOOTSTRAP_VARIABLE):
        return "given"
    has_library = importlib.util.find_spec("testcontainers") is not None
    return "container" if has_library and docker("version") else "local stack"


def pytest_report_header() -> str:
    """Say which Kafka the tests that need one will get."""
    which = which_broker()
    where = os.environ.get(BOOTSTRAP_VARIABLE, "started when the first test needs it")
    return f"kafka: {which} ({where})"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Whatever uses the broker carries its marker: ``-m 'not broker'`` leaves it out.

    Coverage is counted of the pure packages, so not while tests of the rims run, nor in properties that go through the
    same lines for seconds: a tracer doubles the time of what it watches. Cases that run for long name themselves.
    """
    for item in items:
        if "bootstrap" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.broker)
        folders = set(item.path.parts)
        is_property = is_hypothesis_test(getattr(item, "obj", None))
        if folders & RIMS or (is_property and folders & SEARCHED_LONG):
            item.add_marker(pytest.mark.no_cover)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which Kafka was used, and name loudly what was not run for want of data."""
    used = Path(os.environ.get(HOME_VARIABLE, "/nonexistent")) / "used"
    if used.exists():
        terminalreporter.write_line(f"kafka: {used.read_text()}")
    missing = [
        report.nodeid
        for report in terminalreporter.stats.get("skipped", [])
        if NO_SHARED_DATA in str(report.longrepr)
    ]
    for nodeid in missing:
        terminalreporter.write_line(f"{NO_SHARED_DATA}{nodeid}", red=True, bold=True)


@pytest.fixture(scope="session")
def bootstrap() -> str:
    """Where the real Kafka of this run listens; the first process that asks starts it."""
    home = Path(os.environ[HOME_VARIABLE])
    home.mkdir(exist_ok=True)
    which = which_broker()
    if which == "given":
        where = os.environ[BOOTSTRAP_VARIABLE]
    elif which == "container":
        with files.locked(home / "lock", what="starting a container", timeout_s=120):
            where = container(home)
    else:
        where = local_stack(home).start().bootstrap
    files.write_whole(home / "used", f"{which} at {where}")
    return where


def container(home: Path) -> str:
    """Start Apache Kafka in Docker, or find the one that another process of this run has started."""
    from testcontainers.core.container import DockerContainer

    address = home / "container-address"
    if address.exists():
        return address.read_text()
    # Ryuk would end the container with the process that started it; others of this run need it.
    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
    (port,) = ports.choose(1)
    variables = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{ports.HOST}:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }
    started = DockerContainer(f"apache/kafka:{KAFKA_VERSION}").with_bind_ports(9092, port)
    for name, value in variables.items():
        started = started.with_env(name, value)
    started.start()
    (home / "container").write_text(started.get_wrapped_container().id)
    deadline_s = time.monotonic() + 60
    while True:
        try:
            probe.prove_ready(port)
        except (OSError, probe.NotReadyError):
            assert time.monotonic() < deadline_s, "the container's Kafka was not ready after 60 s"
            time.sleep(0.1)
        else:
            break
    address.write_text(f"{ports.HOST}:{port}")
    return address.read_text()


@pytest.fixture
def prefix() -> str:
    """A first part of topic names that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of shared test data beside the repository; without it, a loud skip."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"{NO_SHARED_DATA}{path}", stacklevel=1)
        pytest.skip(f"{NO_SHARED_DATA}{path}")
    return path
