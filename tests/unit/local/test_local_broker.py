"""Formatting and launching, with a stand-in for the JVM that fails in every way."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from enforcer.errors import ConfigError, UnavailableError
from enforcer.local import broker, ports, probe, processes, properties
from enforcer.local.broker import Launch

FORMATTED = "cluster.id=MkU3OEVBNTcwNTJENDM2Qk\ndirectory.id=abc\nnode.id=1\nversion=1\n"


class StandIn:
    """Runs Python code where the JVM would run the broker; counts its starts."""

    jit = "c1"

    def __init__(self, code: str) -> None:
        self.code = code
        self.starts: list[bool] = []
        self.dropped = False

    def command(self, main: str, *arguments: str, use_cache: bool, record: Path | None = None):
        self.starts.append(use_cache)
        return [sys.executable, "-c", self.code, *arguments]

    def drop_cache(self) -> None:
        self.dropped = True


def plan(jvm: StandIn, directory: Path, **changes) -> Launch:
    fields = {
        "jvm": jvm,
        "directory": directory,
        "record_file": directory / "state.json",
        "use_cache": False,
        "training_file": None,
        "fixed_port": None,
        "preferred": (),
        "extras": properties.Extras(),
    }
    return Launch(**(fields | changes))


def dies_with(line: str) -> StandIn:
    return StandIn(f"import sys; print({line!r}, file=sys.stderr); sys.exit(1)")


def assert_no_process(directory: Path) -> None:
    assert processes.find(str(directory / "server.properties")) == []


@pytest.mark.parametrize(
    "line", ["Socket server failed to bind to 127.0.0.1", "Address already in use"]
)
def test_a_port_taken_at_the_last_moment_is_chosen_anew(tmp_path, line: str) -> None:
    """Somebody may take a port between our choice and the broker's bind: a bounded number of times."""
    jvm = dies_with(line)

    with pytest.raises(UnavailableError) as caught:
        broker.launch(plan(jvm, tmp_path))

    assert caught.value.code == "no_port"
    assert len(jvm.starts) == broker._PORT_TRIES


def test_a_fixed_port_taken_at_the_last_moment_is_said(tmp_path) -> None:
    """A port that the user asked for is not exchanged for another one."""
    jvm = dies_with("Address already in use")
    (port,) = ports.choose(1)

    with pytest.raises(UnavailableError) as caught:
        broker.launch(plan(jvm, tmp_path, fixed_port=port))

    assert caught.value.code == "port_taken"
    assert len(jvm.starts) == 1


def test_a_start_that_dies_with_its_cache_is_tried_without(tmp_path) -> None:
    """The cache can be damaged where no digest sees it: it is deleted, and not used again."""
    jvm = dies_with("SIGSEGV in the cache")

    with pytest.raises(UnavailableError) as caught:
        broker.launch(plan(jvm, tmp_path, use_cache=True))

    assert jvm.starts == [True, False]
    assert jvm.dropped
    assert caught.value.code == "broker_died"


def test_a_broker_that_dies_shows_its_last_words(tmp_path) -> None:
    """The error has the telling line of the log and the path of the log."""
    jvm = dies_with("No readable meta.properties files found.")

    with pytest.raises(UnavailableError) as caught:
        broker.launch(plan(jvm, tmp_path))

    assert "No readable meta.properties files found." in caught.value.message
    assert str(tmp_path / "broker.log") in caught.value.help
    assert caught.value.exit_code == 8


def test_a_full_disk_is_said_as_such(tmp_path) -> None:
    """What the broker writes about a full disk becomes the error for a full disk."""
    jvm = dies_with("java.io.IOException: No space left on device")

    with pytest.raises(UnavailableError) as caught:
        broker.launch(plan(jvm, tmp_path))

    assert caught.value.code == "disk_full"


def test_a_broker_that_never_gets_ready_is_ended(tmp_path, monkeypatch) -> None:
    """After the time limit the process is gone, and the error says what it was doing."""
    monkeypatch.setattr(broker, "_READY_TIMEOUT_S", 0.3)
    jvm = StandIn("import time; print('still loading', flush=True); time.sleep(60)")

    with pytest.raises(UnavailableError) as caught:
        broker.launch(plan(jvm, tmp_path))

    assert caught.value.code == "broker_slow"
    assert "still loading" in caught.value.message
    assert_no_process(tmp_path)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_start_leaves_no_process(tmp_path, monkeypatch, interruption) -> None:
    """Ctrl-C or SIGTERM while the broker starts end it, in its session of its own."""

    def interrupt(port: int) -> None:
        raise interruption

    monkeypatch.setattr(probe, "prove_ready", interrupt)
    jvm = StandIn("import time; time.sleep(60)")

    with pytest.raises(interruption):
        broker.launch(plan(jvm, tmp_path))

    assert_no_process(tmp_path)


def test_a_started_broker_is_recorded_before_it_is_ready(tmp_path, monkeypatch) -> None:
    """A starter that is killed leaves a record from which the next one finds the process."""
    seen = []
    monkeypatch.setattr(
        probe, "prove_ready", lambda port: seen.append((tmp_path / "state.json").read_text())
    )
    jvm = StandIn("import time; time.sleep(60)")

    ready = broker.launch(plan(jvm, tmp_path))

    assert '"ready": false' in seen[0]
    assert f'"pid": {ready.pid}' in seen[0]
    assert ready.ready
    assert processes.stop(ready.pid, marker=str(tmp_path / "server.properties"), grace_s=5)


def test_the_last_log_is_kept(tmp_path) -> None:
    """A restart does not overwrite what the broker said before it died."""
    for word in ("first", "second"):
        with pytest.raises(UnavailableError):
            broker.launch(plan(dies_with(word), tmp_path))

    assert "second" in (tmp_path / "broker.log").read_text()
    assert "first" in (tmp_path / "broker.log.1").read_text()


def test_every_directory_is_a_cluster_of_its_own(tmp_path) -> None:
    """Copies of one formatted directory differ in cluster and directory id, and in nothing else."""
    template = tmp_path / f"formatted-{broker.KAFKA_VERSION}"
    template.mkdir()
    (template / "meta.properties").write_text(FORMATTED)
    texts = []
    for number in range(3):
        data = tmp_path / f"data{number}"
        broker.format_directory(dies_with("not called"), data, templates=tmp_path, use_cache=False)
        texts.append((data / "meta.properties").read_text())

    clusters = {re.search("cluster.id=(.*)", text).group(1) for text in texts}
    directories = {re.search("directory.id=(.*)", text).group(1) for text in texts}
    assert len(clusters | directories) == 6
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", word) for word in clusters)
    assert all(text.endswith("node.id=1\nversion=1\n") for text in texts)
    assert (template / "meta.properties").read_text() == FORMATTED


def test_failed_formatting_says_why_and_leaves_nothing(tmp_path) -> None:
    """The StorageTool's last words are in the error, and the next start formats again."""
    with pytest.raises(UnavailableError) as caught:
        broker.format_directory(
            dies_with("Error: it is broken"), tmp_path / "data", templates=tmp_path, use_cache=False
        )

    assert "it is broken" in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("one\ntwo\n", "two"),
        ("ERROR it broke\n\tat a.B(C.java)\n\t... 3 more\n", "ERROR it broke"),
        ("x\njava.lang.RuntimeException: why\n\tat a.B\nbye\n", "java.lang.RuntimeException: why"),
        ("a" * 999, "a" * 300),
    ],
)
def test_the_telling_line_of_a_log(text: str, line: str) -> None:
    """The last line that names an error, else the last line; never a frame of a stack trace."""
    assert broker.telling_line(text) == line


def test_the_settings_hold_what_was_measured() -> None:
    """One quick node on the loopback interface, with small buffers and a short session."""
    text = properties.text(data=Path("/h/kafka/data"), port=1, controller_port=2)
    values = dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))

    assert values["listeners"] == "PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2"
    assert values["controller.quorum.voters"] == "1@127.0.0.1:2"
    assert values["log.dirs"] == "/h/kafka/data"
    assert values["auto.create.topics.enable"] == "false"
    assert values["log.cleaner.dedupe.buffer.size"] == "16777216"
    assert values["broker.session.timeout.ms"] == "3000"
    assert values["transaction.state.log.min.isr"] == "1"


@pytest.mark.parametrize("path", ["/a,b", "/a:b", "/a\\b", "/a\nb", "/a "])
def test_a_directory_that_kafka_cannot_name_is_refused(path: str) -> None:
    """A separator of Kafka or Java in the path is said before anything is started."""
    with pytest.raises(ConfigError):
        properties.text(data=Path(path), port=1, controller_port=2)
