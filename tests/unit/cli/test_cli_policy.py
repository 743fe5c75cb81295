"""``enforcer policy check`` and ``apply`` before any broker is asked."""

import io
import json
import sys
from pathlib import Path

import pytest

from enforcer.cli.main import run
from enforcer.cli.policy import tenant_doubt
from enforcer.cli.policy_files import SOURCE_BYTES_MAX

POLICIES = Path(__file__).parents[3] / "policies"
GOOD = "apiVersion: enforcer/v1\nkind: Tenant\nmetadata: {id: acme}\n"
BAD = (
    "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: p}\n"
    "spec: {rules: [{id: a, then: nope}, {id: a, then: deny}]}\n"
)


@pytest.fixture
def policy(capsys):
    """Run a verb of ``policy``; exit code, stdout and stderr."""

    def call(*arguments):
        code = run(["policy", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_the_ready_policies_check(policy):
    """Nothing but how many there are, on stderr; cases beside policies are no documents."""
    code, out, err = policy("check", POLICIES)
    assert (code, out) == (0, "")
    assert "0 errors" in err


def test_every_finding_has_its_place_and_its_fix(policy, tmp_path):
    """file:line:column, severity, code and message, then a line of help; exit 3."""
    path = tmp_path / "p.yaml"
    path.write_text(BAD)
    code, out, err = policy("check", path)
    assert code == 3
    assert out.startswith(f"{path}:4:30: error[ENF")
    assert "\n    help: " in out
    assert "errors" in err


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_findings_as_data(policy, tmp_path, form):
    """The same fields, as one document or one a line; no finding is an empty list."""
    path = tmp_path / "p.yaml"
    path.write_text(BAD)
    code, out, _ = policy("check", path, "--output", form)
    found = json.loads(out) if form == "json" else [json.loads(line) for line in out.splitlines()]
    assert code == 3
    assert {"code", "severity", "message", "file", "line", "column", "help"} == set(found[0])
    path.write_text(GOOD)
    code, out, _ = policy("check", path, "--output", form)
    assert (code, out) == (0, "[]\n" if form == "json" else "")


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (b"\xff\xfe", 3, "no UTF-8 text (byte 0)"),
        (b"a: \xe4", 3, "no UTF-8 text (byte 3)"),
        (b"\xef\xbb\xbf" + GOOD.encode(), 0, "1 documents"),
        (GOOD.replace("\n", "\r\n").encode(), 0, "1 documents"),
        (b"", 0, "0 documents"),
        (b"[1, 2", 3, ""),
    ],
    ids=["utf-16", "latin-1", "mark", "dos", "empty", "torn"],
)
@pytest.mark.parametrize("by_stdin", [True, False])
def test_texts_of_every_kind(policy, tmp_path, monkeypatch, data, code, said, by_stdin):
    """From a file and from stdin alike: a byte order mark and CR LF are text, other encodings are told."""
    path = tmp_path / "p.yaml"
    path.write_bytes(data)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    found, out, err = policy("check", "-" if by_stdin else path)
    assert found == code
    assert said in (out if "UTF-8" in said else err)
    if "UTF-8" in said:
        assert ("<stdin>:1:" if by_stdin else "p.yaml:1:") in out


def test_a_file_that_is_no_text_hides_nothing(policy, tmp_path):
    """It is a finding with code, line and column; those of the files beside it are there too."""
    (tmp_path / "a.yaml").write_bytes(b"a: b\nc: \xe4")
    (tmp_path / "b.yaml").write_text(BAD)
    code, out, _ = policy("check", tmp_path, "--output", "json")
    found = json.loads(out)
    assert code == 3
    assert (found[0]["code"], found[0]["line"], found[0]["column"]) == ("ENF0101", 2, 4)
    assert any(finding["file"].endswith("b.yaml") for finding in found)


def test_paths_that_are_not_there(policy, tmp_path):
    """Exit 5: no such path, a folder without documents."""
    for path in (tmp_path / "nowhere", tmp_path):
        code, out, err = policy("check", path)
        assert (code, out) == (5, "")
        assert str(path) in err
        assert "help: " in err


def test_a_file_beyond_all_reason_is_refused(policy, tmp_path):
    """Read no further than its limit; told so, not cut off."""
    path = tmp_path / "p.yaml"
    with path.open("wb") as file:
        file.truncate(SOURCE_BYTES_MAX + 1)
    code, out, _ = policy("check", path)
    assert code == 3
    assert "more than" in out


def test_nothing_wrong_reaches_a_broker(policy, tmp_path):
    """Documents are checked before anything is connected: exit 3 although no broker is there."""
    path = tmp_path / "p.yaml"
    path.write_text(BAD)
    code, _, err = policy("apply", path, "--bootstrap", "127.0.0.1:1")
    assert code == 3
    assert err == "nothing was applied\n"
    assert policy("apply")[0] == 2
    assert policy("show")[0] == 2


@pytest.mark.parametrize(
    ("tenant", "said"),
    [
        ("acme", ""),
        ("acmee", "names the tenant `acmee`; did you mean acme?"),
        ("zzz", "names the tenant `zzz`"),
    ],
)
def test_a_stop_of_a_tenant_that_nobody_names_is_doubted(tenant, said):
    """It is in force all the same; whoever is in a hurry sees the slip."""
    doubt = tenant_doubt(tenant, {"*", "!", "acme"})
    assert doubt.endswith(said)
    assert bool(doubt) == (tenant != "acme")
