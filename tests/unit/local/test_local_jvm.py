"""How the broker's JVM is started, and what becomes of a damaged cache."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from enforcer.local import jvm
from enforcer.local.jvm import Jvm


@pytest.fixture
def c1(tmp_path) -> Jvm:
    return Jvm([Path("/j/a.jar"), Path("/j/b.jar")], tmp_path)


def give_cache(of: Jvm, content: bytes = b"cache") -> None:
    of.aot_cache.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    of.aot_cache.with_suffix(".sha256").write_text(digest)


def test_the_flags_are_those_that_were_measured(c1) -> None:
    """A small heap, the serial collector and C1 alone; no warning of the JVM on the way."""
    assert c1.flags == (
        "-Xms256m",
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",
        "-XX:+ExitOnOutOfMemoryError",
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        "-Xlog:disable",
        "-Xlog:all=error:stderr",
        "-XX:TieredStopAtLevel=1",
    )


def test_c2_is_for_throughput(c1, tmp_path) -> None:
    """With c2 the optimizing compiler is on, and the cache of c1 is another file."""
    c2 = Jvm(c1.jars, tmp_path, jit="c2")

    assert set(c1.flags) - set(c2.flags) == {"-XX:TieredStopAtLevel=1"}
    assert c1.aot_cache != c2.aot_cache


def test_the_cache_is_named_by_what_it_depends_on(c1, tmp_path) -> None:
    """Kafka, Java, machine and flags: another heap is another cache, other jars are not."""
    assert f"kafka-{jvm.KAFKA_VERSION}-java-" in c1.aot_cache.name
    assert Jvm(c1.jars, tmp_path, heap_mb=512).aot_cache != c1.aot_cache
    assert Jvm([Path("/moved/a.jar")], tmp_path).aot_cache == c1.aot_cache


def test_the_command_line(c1) -> None:
    """Flags, class path, main class and arguments, in the order that java wants."""
    command = c1.command("kafka.Kafka", "/f", use_cache=False)

    assert command[0].endswith("bin/java")
    assert command[1:11] == list(c1.flags)
    assert command[-4:] == ["-cp", "/j/a.jar:/j/b.jar", "kafka.Kafka", "/f"]
    assert not any("AOT" in word for word in command)


def test_the_cache_is_used_or_recorded(c1) -> None:
    """A run uses the cache, or records for it, or does neither; never both."""
    record = Path("/r")

    used = c1.command("M", use_cache=True)
    recorded = c1.command("M", use_cache=False, record=record)

    assert f"-XX:AOTCache={c1.aot_cache}" in used
    assert [w for w in recorded if "AOT" in w] == ["-XX:AOTMode=record", "-XX:AOTConfiguration=/r"]
    with pytest.raises(AssertionError):
        c1.command("M", use_cache=True, record=record)


def test_a_whole_cache_is_found(c1) -> None:
    """A cache with its own digest is used."""
    assert not c1.has_cache()
    give_cache(c1)
    assert c1.has_cache()


@pytest.mark.parametrize("damage", [b"cachf", b"cach", b""])
def test_a_damaged_cache_is_deleted(c1, damage: bytes) -> None:
    """The JVM would not notice a changed byte: our digest does, and the next run trains again."""
    give_cache(c1)
    c1.aot_cache.write_bytes(damage)

    assert not c1.has_cache()
    assert [path.name for path in c1.cache_dir.iterdir()] == ["aot.lock"]


def test_a_cache_without_digest_is_not_trusted(c1) -> None:
    """A process that died between the two files leaves no cache that counts."""
    c1.aot_cache.write_bytes(b"cache")

    assert not c1.has_cache()


def test_failed_training_leaves_nothing(c1, tmp_path) -> None:
    """A recording that the JVM cannot use is no error; it is deleted, and no cache appears."""
    record = tmp_path / "training.aotconf"
    record.write_bytes(b"no recording")

    c1.train(record)

    assert list(tmp_path.iterdir()) == []


def test_foreign_java_options_do_not_reach_the_broker(monkeypatch) -> None:
    """What the user's environment sets for other Java programs is not for this one."""
    for name in ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH"):
        monkeypatch.setenv(name, "-Xmx1m")

    assert not any("-Xmx1m" in value for value in jvm.environment().values())


def test_two_stacks_that_train_at_once_make_one_cache(tmp_path) -> None:
    """However many stacks make the cache at the same time, file and digest belong together."""

    def install(number: int) -> None:
        made = tmp_path / f"made{number}"
        made.write_bytes(bytes([number]) * 100_000)
        Jvm([], tmp_path)._install(made)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(install, range(40)))

    assert Jvm([], tmp_path).has_cache()
