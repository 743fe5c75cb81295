"""Keys of policies that change while a worker runs: read again every few seconds, and at once on SIGHUP."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

import structlog

from enforcer import config
from enforcer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

LOOK_S: Final = 5.0

_log = structlog.get_logger("enforcer.policies")


class KeyWatch:
    """
    ``run`` beside a worker. What cannot be read changes nothing: the keys as they were stay, and ``problem`` says why.

    A file that is being copied is half of one for a moment, so a folder is not believed to be empty, nor a key broken,
    but told: the next look may find it whole.
    """

    def __init__(
        self,
        place: Path,
        known: Sequence[bytes],
        believe: Callable[[Sequence[bytes]], None],
        *,
        look_s: float = LOOK_S,
    ) -> None:
        """
        Watch *place*, of which *known* has been read.

        Args:
            believe: Told keys in PEM when they are others; raises ConfigError for what is none.
            look_s: How often it is looked.
        """
        self.problem = ""
        self._place = place
        self._known = tuple(known)
        self._believe = believe
        self._look_s = look_s
        self._due = asyncio.Event()

    def look_now(self) -> None:
        """Do not wait for the time to come."""
        self._due.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):
                    await self._due.wait()
            self._due.clear()
            await self._look()

    async def _look(self) -> None:
        try:
            found = await asyncio.to_thread(config.policy_keys, self._place)
            if found != self._known:
                self._believe(found)
                self._known = found
                _log.info("policy_keys_changed", count=len(found), path=str(self._place))
        except ConfigError as error:
            if error.message != self.problem:
                _log.error("policy_keys_unreadable", path=str(self._place), code=error.code)
            self.problem = error.message
        else:
            self.problem = ""
