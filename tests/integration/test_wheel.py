"""The wheel alone, in an empty environment elsewhere: what a user gets who has no checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from enforcer.local import Stack

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = [
    pytest.mark.broker,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("demo"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the checkout."""
    place = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", place, ROOT)
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of commands of an environment that holds the wheel and what it asks for."""
    place = tmp_path_factory.mktemp("elsewhere") / "venv"
    run(sys.executable, "-m", "venv", place)
    run(place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    return place / "bin"


def run(*command, **options):
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        **options,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def alone(home):
    """An environment that knows neither the checkout nor another broker."""
    unwanted = ("ENFORCER_BOOTSTRAP", "PYTHONPATH", "VIRTUAL_ENV")
    known = {name: value for name, value in os.environ.items() if name not in unwanted}
    return known | {"ENFORCER_HOME": str(home)}


def test_the_wheel_holds_its_data(wheel):
    """Schemas, topics and policies travel; tests do not."""
    names = zipfile.ZipFile(wheel).namelist()

    for folder, kept in (("schemas/avro", ".avsc"), ("topics", ".yaml"), ("policies", ".yaml")):
        wanted = {str(p.relative_to(ROOT)) for p in (ROOT / folder).rglob(f"*{kept}")}
        assert wanted
        assert {f"enforcer/_data/{name}" for name in wanted} <= set(names)
    assert not [name for name in names if name.startswith("tests/")]


def test_the_wheel_alone_runs_the_demo(installed, tmp_path):
    """From a foreign folder, whose modules must not stand in for ours, with every figure right."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name in ("enforcer", "events", "json", "rich"):
        (foreign / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    home = tmp_path / "home"
    try:
        told = run(
            installed / "enforcer",
            *("demo", "--seconds", "5", "--output", "json"),
            cwd=foreign,
            env=alone(home),
        )
    finally:
        assert not Stack(home).stop(), "the demo has left its broker running"
    figures = json.loads(told)

    assert figures["requests"] == figures["decisions"] > 0
    assert figures["lost"] == figures["duplicated"] == 0
    assert figures["chain_verified"] is True
    assert figures["policies"]
