"""
What a worker holds before it has seen a record, stage by stage: a process that loads it all in order and looks at itself.

Run as ``python -m enforcer.bench.memory_stages TASK`` (see ``sampling``); it needs no broker.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, Final

from enforcer.bench.sampling import say, task

_STAGES: Final = (
    ("broker_client", ("uvloop", "enforcer.broker")),
    ("detectors", ("enforcer.detect",)),
    ("other_modules", ("enforcer.cli.worker", "enforcer.engine", "enforcer.stream.worker", "enforcer.store")),
)  # fmt: skip


def main(given: dict[str, Any]) -> None:
    """Say how many MiB each stage added; *given* names the ``vocabularies`` that are loaded, or None: the usual ones."""
    from enforcer.bench.vitals import resident_mb  # noqa: PLC0415 — psutil is no part of a worker

    pid = os.getpid()
    before = resident_mb(pid)
    found = {"interpreter": before}

    def seen(stage: str) -> None:
        nonlocal before
        now = resident_mb(pid)
        found[stage] = now - before
        before = now

    for stage, modules in _STAGES:
        for module in modules:
            import_module(module)
        seen(stage)
    from enforcer import detect  # noqa: PLC0415 — as a stage of its own

    names = given.get("vocabularies")
    detect.warm() if names is None else detect.warm(names)
    seen("vocabularies")
    say({"ready": True, "stages": found})


if __name__ == "__main__":
    main(task())
