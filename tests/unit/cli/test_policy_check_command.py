"""`policy check --fix`, `--fail-level` and `explain`, as a shell sees them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from enforcer import policy
from enforcer.cli.main import run
from enforcer.engine.recording import HTTP_STATUS

HEAD = "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: p, tenant: acme}\nspec:\n  rules:\n"


def test_fix_edits_the_file_once_and_keeps_its_comments(tmp_path):
    """The guard is inserted, comments stay, and a second run changes nothing."""
    file = tmp_path / "p.yaml"
    file.write_text(HEAD + "    - {id: r, when: user.email.size() > 3, then: deny}  # mine\n")
    assert run(["policy", "check", str(file)]) == 3
    assert run(["policy", "check", "--fix", str(file)]) == 0
    text = file.read_text()
    assert "when: has(user.email) && user.email.size() > 3, then: deny}  # mine" in text
    assert run(["policy", "check", "--fix", str(file)]) == 0
    assert file.read_text() == text


def test_the_fail_level_decides_what_a_warning_is_worth(tmp_path):
    """A warning passes by default, and fails from its own level on."""
    file = tmp_path / "p.yaml"
    file.write_text(HEAD + "    - {id: r, when: attributes.risk > 3, then: deny}\n")
    assert run(["policy", "check", str(file)]) == 0
    assert run(["policy", "check", "--fail-level", "warning", str(file)]) == 3


@pytest.mark.parametrize("code", [*policy.CODES, "enf0801", "0801", "801"])
def test_every_code_is_explained(code, capsys):
    """However a code is written, its title and text are printed."""
    assert run(["explain", code]) == 0
    out = capsys.readouterr().out
    assert any(title in out for title in policy.CODES.values())


def test_an_unknown_code_names_the_nearest(capsys):
    """Exit code 5, and a code that there is."""
    assert run(["explain", "ENF0809"]) == 5
    assert "did you mean ENF080" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("unknown_tenent", "did you mean unknown_tenant?"),
        ("SEC-001", "a rule's own code is in its policy"),
    ],
)
def test_another_word_than_a_code_is_not_taken_for_a_number(code, said, capsys):
    """A slip in a verdict's code names the right one; a rule's code says where it stands."""
    assert run(["explain", code]) == 5
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("code", sorted({*HTTP_STATUS, "unknown_tenant", "stopped", "too_late"}))
def test_the_engines_own_codes_are_explained(code, capsys):
    """As they stand in a decision."""
    assert run(["explain", code]) == 0
    assert capsys.readouterr().out.startswith(f"{code}\n\n")


def test_help_loads_neither_the_checker_nor_a_client():
    """What a verb needs to run is loaded when it runs: help is there at once."""
    program = (
        "import sys; from enforcer.cli.main import run; run(['policy', 'test', '--help']); "
        "print([m for m in ('asyncio', 'enforcer.policy', 'enforcer.local', 'aiokafka') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
