"""Places inside a takeover, a commit and a repartition where a process kills itself, when a test has asked for it."""

from __future__ import annotations

import inspect
import os
import signal
from typing import TYPE_CHECKING, Any

from enforcer import events
from enforcer.broker import kafka, producer
from enforcer.control.repartition import reading
from enforcer.stream import commit, takeover

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POINTS: dict[str, tuple[Any, str]] = {
    "takeover.start": (producer.KafkaLedger, "start"),
    "takeover.claim": (producer.KafkaProducer, "send"),
    "takeover.restore": (takeover, "restore"),
    "takeover.bounds": (takeover, "_bounds"),
    "takeover.tail": (takeover, "read_decisions"),
    "commit.acknowledge": (commit, "_acknowledged"),
    "commit.begin": (producer.KafkaLedger, "begin"),
    "commit.send": (producer.KafkaLedger, "send"),
    "commit.offsets": (producer.KafkaLedger, "offsets"),
    "commit.commit": (producer.KafkaLedger, "commit"),
    "commit.table": (commit, "write_table"),
}
"""By name: what is done there. A claim is the fast lane's send of one."""
REPARTITION: dict[str, tuple[Any, str]] = {
    "fence": (producer.KafkaLedger, "start"),
    "restore": (reading, "restored"),
    "drained": (reading, "check_drained"),
    "grow": (kafka.KafkaBroker, "grow_topics"),
    "begin": (producer.KafkaLedger, "begin"),
    "send": (producer.KafkaLedger, "send"),
    "offsets": (producer.KafkaLedger, "offsets"),
    "commit": (producer.KafkaLedger, "commit"),
}
"""The same of `topics repartition`."""
DIED_AT = "died-at"
"""A file in the state directory: the point, once it was met."""

_CLAIM = events.encode_claim(events.Claim(0, 0, "", 0))[:10]


def die_at(point: str, when: str, countdown: int, state_dir: Path) -> None:
    """
    Let this process be killed at *point*.

    Args:
        point: One of ``POINTS`` or ``REPARTITION``.
        when: ``before`` or ``after`` it is done.
        countdown: At which of its times.
        state_dir: Where to say so.
    """
    where, name = (POINTS | REPARTITION)[point]
    act = getattr(where, name)
    left = countdown

    def is_it(args: tuple[Any, ...]) -> bool:
        nonlocal left
        if point == "takeover.claim" and not (args[3][0][1] or b"").startswith(_CLAIM):
            return False
        left -= 1
        return left == 0

    def die() -> None:
        (state_dir / DIED_AT).write_text(f"{point} {when}")
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(where, name, _wrapped(act, is_it, die, is_before=when == "before"))


def _wrapped(
    act: Any, is_it: Callable[[tuple[Any, ...]], bool], die: Callable[[], None], *, is_before: bool
) -> Any:
    if inspect.iscoroutinefunction(act):

        async def awaited(*args: Any, **named: Any) -> Any:
            dies = is_it(args)
            if dies and is_before:
                die()
            done = await act(*args, **named)
            if dies:
                die()
            return done

        return awaited

    def called(*args: Any, **named: Any) -> Any:
        dies = is_it(args)
        if dies and is_before:
            die()
        done = act(*args, **named)
        if dies and hasattr(done, "add_done_callback"):
            done.add_done_callback(lambda _: die())  # A send is done when it is acknowledged.
        elif dies:
            die()
        return done

    return called
