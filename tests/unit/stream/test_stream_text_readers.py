"""Long texts are read by other processes: what these owe when all is well, and when they die."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from enforcer import detect
from enforcer.stream import text_readers
from enforcer.stream.text_reader import framed
from enforcer.stream.text_readers import TextReaders

TEXT = detect.LongText("write to anna.schmidt@example.com about it. " * 500, "user")
WANTED = detect.Wanted("o200k_base", frozenset({"email"}), secrets=True, injection=True)

# A reader that dies of the word "poison", hangs at "sleep", babbles at "babble", and else answers with no facts.
FRAIL = """
import pickle, sys, time
sys.path[:0] = {path!r}
from enforcer import detect
from enforcer.stream.text_reader import LENGTH, framed
while head := sys.stdin.buffer.read(LENGTH.size):
    texts, wanted = pickle.loads(sys.stdin.buffer.read(*LENGTH.unpack(head)))
    if any("poison" in each.text for each in texts):
        sys.exit(3)
    if any("sleep" in each.text for each in texts):
        time.sleep(60)
    if any("babble" in each.text for each in texts):
        sys.stdout.buffer.write(LENGTH.pack(3) + b"???")
    sys.stdout.buffer.write(framed([detect.CachedFacts() for _ in texts]))
    sys.stdout.buffer.flush()
"""
pytestmark = pytest.mark.timeout(60)


def frail() -> TextReaders:
    """One reader that some texts kill."""
    return TextReaders(command=(sys.executable, "-c", FRAIL.format(path=sys.path)))


def long(text: str) -> list[detect.LongText]:
    return [detect.LongText(text, None)]


async def test_facts_come_back_as_they_are_made_here() -> None:
    """Two processes, several jobs: the same facts as in this process, in the order of the texts."""
    other = detect.LongText("nothing at all. " * 2_000, None)
    async with TextReaders(2) as readers:
        found = await asyncio.gather(*(readers.read([TEXT, other], WANTED) for _ in range(3)))
    for first, second in found:
        for text, facts in ((TEXT, first), (other, second)):
            here = detect.facts_of(text, WANTED)
            assert {n: getattr(facts, n) for n in detect.CachedFacts.__slots__} == {
                n: getattr(here, n) for n in detect.CachedFacts.__slots__
            }
    assert found[0][0].pii[frozenset({"email"})] == {"email": 500}


async def test_a_text_that_kills_its_reader_twice_fails_closed_and_costs_nobody_else() -> None:
    """It is tried once more, then its facts are errors; jobs before and behind it are answered."""
    async with frail() as readers:
        jobs = [readers.read(long(text), WANTED) for text in ("one", "poison", "two")]
        one, lost, two = await asyncio.gather(*jobs)
        assert readers.deaths == text_readers.TRIES_MAX
        one[0].check()
        two[0].check()
        with pytest.raises(detect.DetectError) as caught:
            lost[0].check()
        assert caught.value.code == "facts_lost"


async def test_an_answer_that_is_none_costs_its_own_job_alone() -> None:
    """Whatever a library wrote between two answers: its reader is replaced, and nobody waits for ever."""
    async with frail() as readers, asyncio.timeout(20):
        (lost,) = await readers.read(long("babble"), WANTED)
        assert isinstance(lost, detect.LostFacts)
        (found,) = await readers.read(long("one"), WANTED)
        found.check()


async def test_a_reader_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job has so much time, and no more."""
    monkeypatch.setattr(text_readers, "TIMEOUT_S", 1.5)
    async with frail() as readers:
        (lost,) = await readers.read(long("sleep"), WANTED)
        assert isinstance(lost, detect.LostFacts)
        (found,) = await readers.read(long("one"), WANTED)
        found.check()


async def test_a_reader_that_cannot_be_started_fails_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits for ever."""
    monkeypatch.setattr(text_readers, "START_WAIT_S", 0.05)
    async with TextReaders(command=("/nowhere/at/all",)) as readers:
        (lost,) = await readers.read(long("one"), WANTED)
        assert isinstance(lost, detect.LostFacts)


async def test_a_process_that_may_start_none_fails_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the thread that waits for a process: nobody waits for ever."""

    async def refused(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(text_readers, "START_WAIT_S", 0.05)
    monkeypatch.setattr(asyncio, "create_subprocess_exec", refused)
    async with TextReaders() as readers, asyncio.timeout(5):
        (lost,) = await readers.read(long("one"), WANTED)
        assert isinstance(lost, detect.LostFacts)


async def test_the_end_waits_for_nobody() -> None:
    """Closed with a job in hand and one in the queue: both are cancelled, and the process is gone."""
    readers = frail()
    async with readers:
        jobs = [asyncio.create_task(readers.read(long("sleep"), WANTED)) for _ in range(2)]
        await asyncio.sleep(0.5)
    done = await asyncio.gather(*jobs, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in done)


def test_a_reader_ends_with_its_worker() -> None:
    """Its input ends when the worker does, however it dies; a signal to the whole group does not end it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "enforcer.stream.text_reader"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(framed(([TEXT], WANTED)))
    process.stdin.flush()
    assert len(process.stdout.read(4)) == 4
    process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()
