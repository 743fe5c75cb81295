"""
A process that reads long texts for a worker: ``python -m enforcer.stream.text_reader``.

A job comes in on standard input, its answer goes out on standard output, each pickled behind four bytes of
length. It ends when its input does, so that it outlives no worker, however that one dies. Signals that end a whole
group of processes do not end it: a worker that drains still needs it.
"""

from __future__ import annotations

import pickle
import signal
import struct
import sys
from typing import TYPE_CHECKING, BinaryIO, Final

from enforcer import detect

if TYPE_CHECKING:
    from collections.abc import Sequence

LENGTH: Final = struct.Struct(">I")


def answer(texts: Sequence[detect.LongText], wanted: detect.Wanted) -> list[detect.CachedFacts]:
    """The facts of each text."""
    return [detect.facts_of(text, wanted) for text in texts]


def framed(message: object) -> bytes:
    """*message* as it travels."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return LENGTH.pack(len(body)) + body


def serve(jobs: BinaryIO, answers: BinaryIO) -> None:
    """Answer jobs until there are no more."""
    while True:
        head = jobs.read(LENGTH.size)
        if len(head) < LENGTH.size:
            return
        # From our own worker, over a pipe that nobody else has.
        texts, wanted = pickle.loads(jobs.read(*LENGTH.unpack(head)))  # noqa: S301 — as above
        answers.write(framed(answer(texts, wanted)))
        answers.flush()


def main() -> None:
    """Serve the worker that started this process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    jobs, answers = sys.stdin.buffer, sys.stdout.buffer
    # Whatever a library prints must not stand between two answers.
    sys.stdout = sys.stderr
    serve(jobs, answers)


if __name__ == "__main__":
    main()
