"""Keys of policies are read again while a worker runs."""

import asyncio

import pytest

from enforcer.cli.key_watch import KeyWatch
from enforcer.config import policy_keys
from enforcer.errors import ConfigError
from enforcer.policy.signing import make_key


@pytest.fixture
def folder(tmp_path):
    """One key in a folder."""
    (tmp_path / "a.pub").write_bytes(make_key()[1])
    return tmp_path


class Watched:
    """A watch that runs, and what it told."""

    def __init__(self, folder, look_s=60.0):
        self.told = []
        self.watch = KeyWatch(folder, policy_keys(folder), self.believe, look_s=look_s)

    def believe(self, keys):
        if any(b"PUBLIC" not in key for key in keys):
            raise ConfigError("a policy key is no key", code="policy_key")
        self.told.append(keys)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.watch.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def until(self, what):
        async with asyncio.timeout(30):
            while not what():  # noqa: ASYNC110 — the watch sets no event
                await asyncio.sleep(0.005)


async def test_keys_that_change_are_told_once_without_a_signal(folder):
    """In the time of a look; what is as it was is not told."""
    async with Watched(folder, look_s=0.01) as watched:
        await asyncio.sleep(0.05)
        assert watched.told == []
        (folder / "b.pub").write_bytes(make_key()[1])
        await watched.until(lambda: watched.told)
        await asyncio.sleep(0.05)
    assert [len(keys) for keys in watched.told] == [2]


async def test_a_signal_does_not_wait_for_the_next_look(folder):
    """An operator who has changed a key says so, and it is believed at once."""
    async with Watched(folder) as watched:
        (folder / "a.pub").write_bytes(make_key()[1])
        watched.watch.look_now()
        await watched.until(lambda: watched.told)


async def test_what_cannot_be_read_changes_nothing_and_is_said(folder):
    """A folder that is empty for a moment, and half a key: the keys as they were stay, until it can be read."""
    async with Watched(folder, look_s=0.01) as watched:
        whole = (folder / "a.pub").read_bytes()
        (folder / "a.pub").unlink()
        await watched.until(lambda: watched.watch.problem)
        assert watched.watch.problem == f"{folder} holds no *.pub"
        (folder / "a.pub").write_bytes(b"half")
        await watched.until(lambda: watched.watch.problem == "a policy key is no key")
        (folder / "a.pub").write_bytes(whole)
        await watched.until(lambda: not watched.watch.problem)
        assert watched.told == []
