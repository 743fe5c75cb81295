"""The jars: verified, replaced when damaged, downloaded once, and not at all when they are there."""

from __future__ import annotations

import hashlib
import http.server
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from enforcer.errors import UnavailableError
from enforcer.local import jars
from enforcer.local.jars import Pin
from enforcer.local.steps import silent

if TYPE_CHECKING:
    from pathlib import Path

CONTENTS = {f"part{number}": bytes([number]) * (1_000 + number) for number in range(12)}
# jgo leaves the connection of a refused or interrupted download to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)
NOWHERE = "http://127.0.0.1:9"


def pin_of(name: str) -> Pin:
    content = CONTENTS[name]
    return Pin("org.example", name, "1.0", len(content), hashlib.sha256(content).hexdigest())


PINS = [pin_of(name) for name in CONTENTS]


class Repository:
    """A Maven repository on the loopback interface that can serve damaged files."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.damaged: Counter[str] = Counter()
        self.missing: set[str] = set()
        repository = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2].removesuffix("-1.0.jar")
                content = CONTENTS.get(name)
                if content is None or name in repository.missing:
                    self.send_error(404)
                    return
                repository.asked[name] += 1
                if repository.damaged[name] > 0:
                    repository.damaged[name] -= 1
                    content = b"x" * len(content)
                self.send_response(200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Be quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/m2/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def repository():
    served = Repository()
    yield served
    served.close()


def fill(directory: Path, pins=PINS) -> None:
    for pin in pins:
        path = directory / pin.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENTS[pin.artifact])


def test_the_pin_file_names_45_jars_of_45_megabytes() -> None:
    """The pins are those that were measured: 45 distinct jars, 44.6 MB, Kafka first."""
    pins = jars.pins()

    assert len({str(pin) for pin in pins}) == 45
    assert sum(pin.size_bytes for pin in pins) == 44_610_766
    assert str(pins[0]) == f"org.apache.kafka:kafka_2.13:{jars.KAFKA_VERSION}"
    assert all(len(pin.sha256) == 64 for pin in pins)


def test_an_empty_cache_is_filled(repository, tmp_path) -> None:
    """Every missing jar is downloaded once, verified, in order, and nothing else is left."""
    steps = []

    paths = jars.obtain(tmp_path, progress=steps.append, maven_url=repository.url, wanted=PINS)

    assert paths == [tmp_path / pin.path for pin in PINS]
    assert [path.read_bytes() for path in paths] == list(CONTENTS.values())
    assert repository.asked == Counter(dict.fromkeys(CONTENTS, 1))
    assert not list(tmp_path.glob(".download-*"))
    total = sum(map(len, CONTENTS.values()))
    assert (steps[0].done, steps[-1].done) == (0, total)
    assert {step.total for step in steps} == {total}


def test_a_full_cache_touches_no_network(tmp_path, monkeypatch) -> None:
    """With every jar there, the downloader is not even imported."""
    fill(tmp_path)
    monkeypatch.setattr(jars, "_maven", None)

    paths = jars.obtain(tmp_path, progress=silent, maven_url=NOWHERE, wanted=PINS)

    assert len(paths) == len(PINS)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_jar_is_replaced(repository, tmp_path, damage: str) -> None:
    """A jar that is not the pinned one is downloaded again, and only that one."""
    fill(tmp_path)
    victim = tmp_path / PINS[3].path
    content = CONTENTS["part3"]
    victim.write_bytes(
        {"truncated": content[:-1], "flipped": b"\xff" + content[1:], "empty": b""}[damage]
    )

    jars.obtain(tmp_path, progress=silent, maven_url=repository.url, wanted=PINS)

    assert victim.read_bytes() == content
    assert repository.asked == Counter({"part3": 1})


def test_a_damaged_download_is_tried_once_more(repository, tmp_path) -> None:
    """The second try helps when the first was damaged on its way; progress never passes its total."""
    repository.damaged["part5"] = 1
    steps = []

    jars.obtain(tmp_path, progress=steps.append, maven_url=repository.url, wanted=PINS)

    assert (tmp_path / PINS[5].path).read_bytes() == CONTENTS["part5"]
    assert repository.asked["part5"] == 2
    assert steps[-1].done == steps[-1].total
    assert all(step.done <= step.total for step in steps)


def test_a_download_that_stays_damaged_is_refused(repository, tmp_path) -> None:
    """After two damaged downloads the cache holds nothing of it, and the error names the jar."""
    repository.damaged["part5"] = 99

    with pytest.raises(UnavailableError) as caught:
        jars.obtain(tmp_path, progress=silent, maven_url=repository.url, wanted=PINS)

    assert caught.value.code == "download_damaged"
    assert "org.example:part5:1.0" in caught.value.message
    assert repository.asked["part5"] == 2
    assert not (tmp_path / PINS[5].path).exists()
    assert not list(tmp_path.glob(".download-*"))


def test_a_jar_that_is_not_served_is_named(repository, tmp_path) -> None:
    """A 404 says which jar, and that it is not served there."""
    repository.missing.add("part7")

    with pytest.raises(UnavailableError) as caught:
        jars.obtain(tmp_path, progress=silent, maven_url=repository.url, wanted=PINS)

    assert caught.value.code == "download_failed"
    assert "part7" in caught.value.message
    assert "not served" in caught.value.message


def test_no_network_and_an_empty_cache_is_one_clear_line(tmp_path) -> None:
    """Without network the error has one line, the innermost reason and what to do."""
    with pytest.raises(UnavailableError) as caught:
        jars.obtain(tmp_path, progress=silent, maven_url=NOWHERE, wanted=PINS)

    assert caught.value.exit_code == 8
    assert "Connection refused" in caught.value.message
    assert "\n" not in caught.value.message
    assert "HTTPS_PROXY" in caught.value.help


def test_two_at_once_download_once(repository, tmp_path) -> None:
    """Whoever comes second waits for the lock and finds the cache full."""
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(
                lambda _: jars.obtain(
                    tmp_path, progress=silent, maven_url=repository.url, wanted=PINS
                ),
                range(4),
            )
        )

    assert all(paths == found[0] for paths in found)
    assert repository.asked == Counter(dict.fromkeys(CONTENTS, 1))


def test_a_maven_repository_is_read_and_never_written(repository, tmp_path) -> None:
    """Jars of M2_REPO are used if they are intact; a damaged one there is left as it is."""
    shared, cache = tmp_path / "m2", tmp_path / "cache"
    fill(shared, PINS[:6])
    (shared / PINS[0].path).write_bytes(b"damaged")

    paths = jars.obtain(
        cache,
        progress=silent,
        maven_url=repository.url,
        maven_repository=shared,
        wanted=PINS,
    )

    assert paths[0] == cache / PINS[0].path
    assert paths[1] == shared / PINS[1].path
    assert (shared / PINS[0].path).read_bytes() == b"damaged"
    assert sum(repository.asked.values()) == len(PINS) - 5


def test_what_a_killed_download_left_is_removed(repository, tmp_path) -> None:
    """A directory of a process that died amid its download does not stay."""
    leftover = tmp_path / ".download-1"
    leftover.mkdir()
    (leftover / "half.jar").write_bytes(b"x")

    jars.obtain(tmp_path, progress=silent, maven_url=repository.url, wanted=PINS)

    assert not leftover.exists()


def test_a_full_disk_is_seen_before_the_download(repository, tmp_path, monkeypatch) -> None:
    """Nothing is asked for when it cannot be kept."""
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)

    with pytest.raises(UnavailableError) as caught:
        jars.obtain(tmp_path, progress=silent, maven_url=repository.url, wanted=PINS)

    assert caught.value.code == "disk_full"
    assert not repository.asked


def test_a_disk_that_fills_up_on_the_way_is_named(repository, tmp_path, monkeypatch) -> None:
    """ENOSPC inside the downloader is said as a full disk, not as a failed download."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jars._Meter, "add", lambda self, count: full() if count else None)

    with pytest.raises(UnavailableError) as caught:
        jars.obtain(tmp_path, progress=silent, maven_url=repository.url, wanted=PINS)

    assert caught.value.code == "disk_full"


def test_giving_up_stops_the_threads(repository, tmp_path) -> None:
    """Ctrl-C in the progress display ends the download and leaves no staging directory."""

    def interrupt(step) -> None:
        if step.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jars.obtain(tmp_path, progress=interrupt, maven_url=repository.url, wanted=PINS)

    assert not list(tmp_path.glob(".download-*/**/*.jar"))
