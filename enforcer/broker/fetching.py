"""
One fetch after another to each broker that leads a partition of a reader.

Theory of operation
-------------------
* A node has one request in flight, over a connection of its own (``Line``), in a session (``fetch.Session``).
* The next one leaves when what the last one brought was polled: a busy loop so asks less often, and gets more at a time.
  If that takes longer than ``PARKED_S`` it leaves all the same, for the partitions that have room.
* It leaves no sooner than ``fetch_gap_ms`` after the one before. A record that comes to a waiting fetch is answered at
  once, so a quiet input is not delayed; each answer of a busy one, which costs both sides about the same whatever is in
  it, holds more.
* A seek begins the session anew. Else an answer would pass the partition over if nothing is new there, and nobody
  would learn where it ends.
* A partition that is led elsewhere, or by nobody, rests for ``retry_backoff_ms``, and the leaders are asked for. A lost
  connection forgets the session; the positions are here.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiokafka import errors as kafka_errors

from enforcer.broker.client import retrieve
from enforcer.broker.fetch import FETCH, Session
from enforcer.broker.line import Line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from enforcer.broker.config import BrokerConfig
    from enforcer.broker.fetch import Answer, Fetched
    from enforcer.broker.ports import Partition
    from enforcer.broker.reader import Place

PARKED_S: Final = 0.02
"""So long what was fetched and not polled holds up the next fetch of its node."""
_WATCH_S: Final = 1.0
_GROUP: Final = "fetch"
"""What aiokafka tells the connections to one node apart by."""

_TOLD: Final = (
    kafka_errors.OffsetOutOfRangeError,
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.CorruptRecordException,
)
"""What a partition's reader must be told; after any other error it is asked for again."""


class Taker(Protocol):
    """Who what is fetched is for."""

    @property
    def places(self) -> Iterable[Place]:
        """All that is assigned."""

    def came(self, place: Place, found: Fetched) -> None:
        """An answer told of *place*."""

    def failed(self, place: Place, error: BaseException) -> None:
        """*place* cannot be read."""


class _Node:
    """One broker."""

    __slots__ = (
        "asked",
        "begun_s",
        "came_s",
        "connecting",
        "line",
        "not_before_s",
        "number",
        "session",
    )

    def __init__(self, number: int, session: Session) -> None:
        self.number = number
        self.session = session
        self.line: Line | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.asked: dict[Partition, tuple[Place, int, int]] | None = None
        """In flight: for what, after how many seeks of each, and from where on."""
        self.begun_s = self.came_s = self.not_before_s = 0.0


class Fetching:
    """The fetches of one reader. Belongs to one event loop."""

    def __init__(
        self, client: Any, config: BrokerConfig, taker: Taker, *, read_committed: bool
    ) -> None:
        """
        Begin with nothing asked.

        Args:
            client: aiokafka's, for metadata and connections.
            config: Limits.
            taker: Whose places are fetched.
            read_committed: Whether records of open and aborted transactions are left out.
        """
        self._client = client
        self._config = config
        self._taker = taker
        self._read_committed = read_committed
        self._loop = asyncio.get_running_loop()
        self._gap_s = config.fetch_gap_ms / 1000
        self._nodes: dict[int, _Node] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._is_look_soon = self._is_closed = False

    # -- the way out ------------------------------------------------------------------------------------------

    def moved(self, place: Place) -> None:
        """*place* was put somewhere else: where it ends is to be told, by whoever leads it then."""
        leader = self._leader(place)
        for node in self._nodes.values():
            if node.number == leader or node.session.names(place.tp):
                node.session.forget()
        self.look_soon()

    def look_soon(self) -> None:
        """Look once what this turn of the loop has to say of places was said."""
        if not self._is_look_soon:
            self._is_look_soon = True
            self._loop.call_soon(self.look)

    def look(self) -> None:
        """Ask every node that may be asked now; for the others, look again when it is time."""
        self._is_look_soon = False
        if self._is_closed:
            return
        now_s = time.monotonic()
        again_s: list[float] = []
        for number, places in self._by_node(now_s, again_s).items():
            node = self._nodes.get(number)
            if node is None:
                node = self._nodes[number] = _Node(number, self._new_session())
            if node.asked is not None or node.connecting is not None:
                continue
            at_s = max(node.not_before_s, self._drained_s(node, places, now_s))
            if at_s > now_s:
                again_s.append(at_s)
                continue
            wanted = {p.tp: p.fetched for p in places if self._has_room(p)}
            if wanted:
                asked = {p.tp: (p, p.seeks, p.fetched) for p in places if p.tp in wanted}
                self._ask(node, wanted, asked)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if again_s:
            self._timer = self._loop.call_later(min(again_s) - now_s, self.look)

    def _by_node(self, now_s: float, again_s: list[float]) -> dict[int, list[Place]]:
        """Places to be fetched, by who leads them; *again_s* gets when those that rest do no more."""
        by_node: dict[int, list[Place]] = {}
        for place in self._taker.places:
            if place.is_paused or not place.is_placed or place.error is not None:
                continue
            if place.rests_until_s > now_s:
                again_s.append(place.rests_until_s)
                continue
            leader = self._leader(place)
            if leader >= 0:
                by_node.setdefault(leader, []).append(place)
            else:
                self._rest(place, now_s)
                if place.error is None:
                    again_s.append(place.rests_until_s)
        return by_node

    def _leader(self, place: Place) -> int:
        leader = self._client.cluster.leader_for_partition(place.tp)
        return -1 if leader is None else int(leader)

    def _rest(self, place: Place, now_s: float) -> None:
        """Nobody leads it, as far as is known, or not whom we asked."""
        topic = place.tp[0]
        if topic in self._client.cluster.unauthorized_topics:
            self._taker.failed(place, kafka_errors.TopicAuthorizationFailedError(topic))
            return
        place.rests_until_s = now_s + self._config.retry_backoff_ms / 1000
        self._client.add_topic(topic).add_done_callback(retrieve)
        self._client.force_metadata_update().add_done_callback(retrieve)

    def _drained_s(self, node: _Node, places: list[Place], now_s: float) -> float:
        """When the node may be asked although something it brought was not polled; now, if all was."""
        if any(place.parked for place in places):
            return max(node.came_s + PARKED_S, node.begun_s + self._gap_s)
        return max(now_s, node.begun_s + self._gap_s)

    def _has_room(self, place: Place) -> bool:
        return place.parked_bytes < self._config.max_partition_fetch_bytes

    def _new_session(self) -> Session:
        return Session(
            read_committed=self._read_committed,
            wait_ms=self._config.fetch_max_wait_ms,
            partition_bytes_max=self._config.max_partition_fetch_bytes,
        )

    def _ask(
        self,
        node: _Node,
        wanted: dict[Partition, int],
        asked: dict[Partition, tuple[Place, int, int]],
    ) -> None:
        if node.line is None or not node.line.is_open:
            node.line = None
            node.session.forget()
            node.connecting = self._loop.create_task(self._connect(node))
            return
        node.asked, node.begun_s = asked, time.monotonic()
        body = node.session.request(wanted)
        try:
            node.line.ask(
                FETCH,
                body,
                answered=lambda answer: self._answered(node, answer),
                lost=lambda error: self._lost(node, error),
            )
        except kafka_errors.KafkaError as error:
            self._lost(node, error)

    async def _connect(self, node: _Node) -> None:
        try:
            connection = await self._client._get_conn(node.number, group=_GROUP)  # noqa: SLF001 — client.PRIVATE_NAMES
        except Exception:  # noqa: BLE001 — whatever it is, there is no connection
            connection = None
        node.connecting = None
        if self._is_closed:
            return
        if connection is None:
            self._lost(node, kafka_errors.NodeNotReadyError())
            return
        node.line = Line(connection)
        if self._watch is None:
            self._watch = self._loop.call_later(_WATCH_S, self._look_for_late)
        self.look()

    # -- the way back -----------------------------------------------------------------------------------------

    def _answered(self, node: _Node, answer: Answer) -> None:
        asked, node.asked = node.asked, None
        node.came_s = now_s = time.monotonic()
        wait_ms = answer.throttle_ms or (self._config.retry_backoff_ms if answer.code else 0)
        node.not_before_s = now_s + wait_ms / 1000
        node.session.answered(answer)
        if asked is None or self._is_closed:
            return
        for tp, found in answer.found.items():
            place, seeks, at = asked.get(tp, (None, 0, 0))
            # Two nodes may have been asked for one that moved: the second to answer tells what was told.
            if place is None or place.seeks != seeks or place.fetched != at:
                continue
            if found.code == 0:
                self._taker.came(place, found)
            else:
                self._refused(place, found.code, now_s)
        if any(found.records for found in answer.found.values()):
            # The poll that takes it looks again; if none does, the others are not held up for long.
            if self._timer is None:
                self._timer = self._loop.call_later(PARKED_S, self.look)
        else:
            self.look()

    def _refused(self, place: Place, code: int, now_s: float) -> None:
        error = kafka_errors.for_code(code)
        if issubclass(error, _TOLD):
            named = {place.tp: place.fetched}
            of_topic = error is kafka_errors.TopicAuthorizationFailedError
            self._taker.failed(place, error(place.tp[0] if of_topic else named))
        else:
            self._rest(place, now_s)

    def _lost(self, node: _Node, _error: Exception) -> None:
        """The request, or the way to the node, was lost."""
        node.asked = None
        node.session.forget()
        if self._is_closed:
            return
        node.not_before_s = time.monotonic() + self._config.retry_backoff_ms / 1000
        self._client.force_metadata_update().add_done_callback(retrieve)
        self.look_soon()  # Not now: it may be a look that has come here.

    def _look_for_late(self) -> None:
        """Close the connections on which an answer is late."""
        late_s = time.monotonic() - self._config.request_timeout_ms / 1000
        for node in self._nodes.values():
            if node.asked is not None and node.line is not None and node.begun_s < late_s:
                node.line.close()
        self._watch = self._loop.call_later(_WATCH_S, self._look_for_late)

    async def close(self) -> None:
        """Ask nothing more; the client closes the connections. Bounded in time; never raises."""
        self._is_closed = True
        for timer in (self._timer, self._watch):
            if timer is not None:
                timer.cancel()
        connecting = [n.connecting for n in self._nodes.values() if n.connecting is not None]
        if connecting:
            # aiokafka leaves the socket of a connection open that is cancelled halfway.
            await asyncio.wait(connecting, timeout=self._config.close_timeout_s)
        for task in connecting:
            task.cancel()
