"""What a worker loads before it is ready."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from enforcer import detect
from enforcer.detect import tokens
from enforcer.stream import vocabularies

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_new_worker_loads_the_likely_ones(tmp_path: Path) -> None:
    """A directory that is not there names none beyond them."""
    assert vocabularies.wanted([tmp_path / "none"]) == sorted(detect.LIKELY_VOCABULARIES)


def test_what_was_needed_before_is_loaded_before_the_worker_is_ready(tmp_path: Path) -> None:
    """Of all workers that are forked from one process together; a file that is damaged names none."""
    for name, text in (("0", b"llama3\n"), ("1", b"qwen3\nllama3\n"), ("2", b"\xff\xfe")):
        (tmp_path / name).mkdir()
        (tmp_path / name / vocabularies.NAMES_FILE).write_bytes(text)

    found = vocabularies.wanted([tmp_path / name for name in "012"])
    assert found == sorted({*detect.LIKELY_VOCABULARIES, "llama3", "qwen3"})


def test_a_name_that_is_not_shipped_any_more_is_passed_over() -> None:
    """A worker starts all the same."""
    tokens.warm(["no-such-vocabulary"])

    assert "no-such-vocabulary" not in detect.loaded()


async def test_a_vocabulary_that_traffic_meets_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soon after its first request, and once."""
    monkeypatch.setattr(vocabularies, "LOOK_EVERY_S", 0.01)
    keeping = asyncio.create_task(vocabularies.remembering(tmp_path))
    try:
        tokens.count_text("Guten Tag", "mistral-nemo", "mistral")
        async with asyncio.timeout(10):
            while "mistral_v3" not in vocabularies.wanted([tmp_path]):  # noqa: ASYNC110 — a file
                await asyncio.sleep(0.01)
    finally:
        keeping.cancel()
    assert not (tmp_path / f"{vocabularies.NAMES_FILE}.new").exists()


async def test_a_directory_that_cannot_be_written_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next start is slower by a load: nothing else."""
    monkeypatch.setattr(vocabularies, "LOOK_EVERY_S", 0.01)
    keeping = asyncio.create_task(vocabularies.remembering(tmp_path / "gone"))
    tokens.count_text("Guten Tag", "mistral-nemo", "mistral")
    await asyncio.sleep(0.1)

    assert not keeping.done()
    keeping.cancel()
