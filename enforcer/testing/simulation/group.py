"""A consumer group: who has a seat, sessions that end, and assignments that take their time."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from enforcer.broker.assignor import Claim, Share, share_out
from enforcer.errors import AgentFencedError
from enforcer.testing.simulation.loop import nobodys_context

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


@dataclass(slots=True)
class _Member:
    """A seat. *number* is of the process that sits on it: a newer one under the same name takes it over."""

    number: int
    session: asyncio.TimerHandle | None = None
    has_joined: bool = True
    """Whether it knows of the rebalance under way."""
    claim: Claim = field(default_factory=Claim)
    """As it was when it joined the newest rebalance."""


class Group:
    """
    The coordinator's view. Members learn what has changed by their heartbeats.

    Joins, leaves and ended sessions begin a rebalance. It is finished when all have heard of it, or a session later
    without those who have not.
    """

    def __init__(self, partitions: int, session_timeout_s: float) -> None:
        self.generation = 0
        self._partitions = partitions
        self._session_timeout_s = session_timeout_s
        self._members: dict[str, _Member] = {}
        self._numbers = itertools.count(1)
        self._is_rebalancing = False
        self._deadline: asyncio.TimerHandle | None = None
        self.standbys = 0
        """Of each partition; the newest member to join has the say."""
        self.given: dict[str, Share] = {}
        """By name, of the newest finished assignment."""

    def join(self, name: str) -> int:
        """
        Take a seat; the number that its heartbeats carry.

        A name that has a seat (a restart within its session) fences who sat there, and moves nothing.
        """
        number = next(self._numbers)
        member = self._members.get(name)
        if member is None:
            self._rebalance()
            self._members[name] = member = _Member(number)
        else:
            member.number, member.has_joined = number, True
        self._begin_session(name, member)
        self._try_finish()
        return number

    def heartbeat(
        self, name: str, number: int, *, warm: Collection[int] = (), leaves: bool = False
    ) -> tuple[int, Share] | None:
        """
        Say that *name* lives. Its generation and share; None while a rebalance is under way.

        Args:
            name: Of the member.
            number: Of its process, as ``join`` told.
            warm: What it is warm for now; counts when it joins a rebalance.
            leaves: Whether it wants nothing any more; as *warm*.

        Raises: AgentFencedError when it has no seat any more.
        """
        member = self._seated(name, number)
        self._begin_session(name, member)
        if self._is_rebalancing:
            member.has_joined = True
            member.claim = replace(member.claim, warm=tuple(sorted(warm)), leaves=leaves)
            self._try_finish()
        if self._is_rebalancing:
            return None
        return self.generation, self.given.get(name, Share())

    def rejoin(self, name: str, number: int) -> None:
        """Begin a rebalance, for *name* has news."""
        self._seated(name, number)
        self._rebalance()

    def leave(self, name: str, number: int) -> None:
        """Give the seat back."""
        self._seated(name, number)
        self._drop(name)

    def _seated(self, name: str, number: int) -> _Member:
        member = self._members.get(name)
        if member is None or member.number != number:
            raise AgentFencedError(f"{name} has lost its seat", code="membership_lost")
        return member

    def _begin_session(self, name: str, member: _Member) -> None:
        if member.session is not None:
            member.session.cancel()
        member.session = self._later(lambda: self._drop(name))

    def _later(self, act: Callable[[], None]) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        return loop.call_later(self._session_timeout_s, act, context=nobodys_context())

    def _drop(self, name: str) -> None:
        member = self._members.pop(name, None)
        if member is not None:
            if member.session is not None:
                member.session.cancel()
            self._rebalance()
            self._try_finish()

    def _rebalance(self) -> None:
        if not self._is_rebalancing:
            self._is_rebalancing = True
            for member in self._members.values():
                member.has_joined = False
            self._deadline = self._later(self._finish_without_the_silent)

    def _finish_without_the_silent(self) -> None:
        for name in [n for n, m in self._members.items() if not m.has_joined]:
            session = self._members.pop(name).session
            if session is not None:
                session.cancel()
        self._try_finish()

    def _try_finish(self) -> None:
        if not self._is_rebalancing or not all(m.has_joined for m in self._members.values()):
            return
        self._is_rebalancing = False
        if self._deadline is not None:
            self._deadline.cancel()
        self.generation += 1
        claims = {name: member.claim for name, member in self._members.items()}
        self.given = share_out(self._partitions, claims, standbys=self.standbys) if claims else {}
        for name, share in self.given.items():
            self._members[name].claim = Claim(name, share.round_number, share.owned)
