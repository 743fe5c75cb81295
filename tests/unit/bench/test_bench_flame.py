"""Flame graphs: what of py-spy's lines is kept, what is drawn, and what is refused before a benchmark begins."""

from __future__ import annotations

import asyncio
import re
import sys
from xml.etree import ElementTree as ET

import pytest

from enforcer.bench import flame
from enforcer.bench.flame_graph import as_lines, folded, shares, svg
from enforcer.errors import ConfigError, UnavailableError

RAW = """\
<module> (runpy.py:198);main (enforcer/bench/worker_round.py);run (enforcer/stream/agent.py);request (enforcer/engine/engine.py) 30
_run_code (<frozen runpy>);main (enforcer/bench/worker_round.py);run (enforcer/stream/agent.py) 10
run (uvloop/__init__.py);main (/home/somebody/enforcer/bench/worker_round.py);poll (/opt/x/site-packages/aiokafka/consumer/fetcher.py) 20
_bootstrap (threading.py);work (concurrent/futures/thread.py) 5
"""


def boxes(picture: str) -> dict[str, float]:
    """Shares by function, from the tooltips."""
    return {
        name: float(share)
        for name, share in re.findall(r"<title>([^<]+): ([\d.]+) %</title>", picture)
    }


def test_a_frame_is_named_by_package_module_and_function():
    """Nothing of where anything is installed is left, nor what every stack begins with."""
    assert folded(RAW) == {
        ("bench/worker_round.main", "stream/agent.run", "engine/engine.request"): 30,
        ("bench/worker_round.main", "stream/agent.run"): 10,
        ("bench/worker_round.main", "aiokafka/consumer/fetcher.poll"): 20,
        ("futures/thread.work",): 5,
    }
    assert folded("f (<ordinary>) 1") == {("engine/<ordinary>.f",): 1}
    assert folded("run (<compiled run>) 1") == {("policy/<compiled run>.run",): 1}


def test_the_folded_form_is_a_stack_and_its_samples_a_line():
    """As other tools read it; the same stacks in the same order."""
    assert "bench/worker_round.main;stream/agent.run 10\n" in as_lines(folded(RAW))


def test_a_box_is_as_wide_as_its_share_and_stands_on_its_caller():
    """Shares are of all samples; a function counts what it calls."""
    picture = svg(folded(RAW), "A worker")
    ET.fromstring(picture)
    shares = boxes(picture)
    assert shares["bench/worker_round.main"] == 92.3
    assert shares["stream/agent.run"] == 61.5
    assert shares["engine/engine.request"] == 46.2
    assert "A worker: 65 samples" in picture


def test_a_package_has_the_time_of_what_it_calls_of_others():
    """Of the packages that are told apart; all shares are one."""
    found = shares(
        {
            ("stream/agent.run", "engine/engine.request", "json/decoder.decode"): 3,
            ("stream/agent.run",): 1,
        }
    )
    assert {name: share for name, share in found.items() if share} == {
        "engine": 0.75,
        "stream": 0.25,
    }
    assert sum(shares(folded(RAW)).values()) == pytest.approx(1)


def test_names_are_escaped_and_narrow_boxes_left_out():
    """A picture of a thousand functions stays small, and a lambda's name does not break it."""
    many = {("a/b.<lambda>", f"c/d.f{n}"): 1 for n in range(2_000)}
    picture = svg({**many, ("a/b.<lambda>",): 100}, "x & y")
    ET.fromstring(picture)
    assert "&lt;lambda&gt;" in picture
    assert len(picture) < 3_000


@pytest.mark.parametrize(
    ("name", "said"), [("x.png", "no such kind"), ("missing/x.svg", "no directory")]
)
def test_a_graph_that_cannot_be_written_is_refused_at_once(tmp_path, name, said):
    """Before minutes are spent on it."""
    with pytest.raises(ConfigError, match=said):
        flame.check(tmp_path / name)


def test_without_py_spy_the_extra_is_named(monkeypatch, tmp_path):
    """As a command that can be copied."""
    monkeypatch.setattr(flame, "_py_spy", lambda: None)
    with pytest.raises(ConfigError) as caught:
        flame.check(tmp_path / "x.svg")
    assert "llm-enforcer[flame]" in caught.value.help


async def test_a_running_process_is_looked_at(tmp_path):
    """By py-spy itself; no place of the machine is in the picture."""
    busy = "import time\ndef spin():\n    while True: sum(range(1000))\nspin()\n"
    script = tmp_path / "busy.py"
    script.write_text(busy)
    process = await asyncio.create_subprocess_exec(sys.executable, str(script))
    try:
        await asyncio.sleep(0.5)
        file = tmp_path / "busy.svg"
        try:
            await flame.record(process.pid, file, seconds=1, title="busy")
        except UnavailableError as error:
            # Only what the machine forbids: whatever else py-spy says is a failure.
            if "ermission" not in error.message:
                raise
            pytest.skip(f"this machine lets no process be traced: {error.message}")
        assert any(name.endswith(".spin") for name in boxes(file.read_text()))
        assert str(tmp_path) not in file.read_text()
    finally:
        process.kill()
        await process.wait()
