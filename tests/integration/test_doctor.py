"""``doctor`` on the real broker: each line says what is wrong and what to do, and nothing is written."""

import json

import pytest

from enforcer.cli.main import run

POLICY = (
    "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: p, tenant: acme}\n"
    "spec: {rules: [{id: a, then: warn}]}\n"
)


@pytest.fixture
def examined(bootstrap, prefix, tmp_path, capsys):
    """Run the command; its exit code and its lines by check."""

    def call(*arguments):
        target = ["--bootstrap", bootstrap, "--prefix", prefix]
        state = [] if "--state-dir" in arguments else ["--state-dir", str(tmp_path / "state")]
        capsys.readouterr()
        code = run(["doctor", "--output", "json", *target, *state, *arguments])
        found = json.loads(capsys.readouterr().out)
        assert found["ready"] == (code == 0)
        return code, {line["check"]: line for line in found["checks"]}

    return call


def test_from_nothing_to_ready(examined, bootstrap, prefix, tmp_path):
    """Topics, then policies, then agents: the fix of each line leads to the next."""
    target = ["--bootstrap", bootstrap, "--prefix", prefix]
    code, lines = examined()
    assert (code, lines["broker"]["status"], lines["topics"]["status"]) == (8, "ok", "fail")
    assert lines["topics"]["fix"].startswith("enforcer topics apply")
    assert "policies" not in lines
    assert run(["topics", "apply", "--partitions", "2", *target]) == 0
    code, lines = examined()
    assert code == 0
    assert {check: line["status"] for check, line in lines.items()} == {
        "broker": "ok", "versions": "ok", "certificates": "ok", "secrets": "ok", "ACLs": "warn", "partitions": "ok", "append time": "ok", "topics": "ok", "replication": "warn", "clock": "ok",
        "policies": "warn", "agents": "warn", "state directory": "ok", "disk": "ok",
    }  # fmt: skip
    file = tmp_path / "p.yaml"
    file.write_text(POLICY)
    assert run(["policy", "apply", str(file), *target]) == 0
    assert run(["policy", "stop", "--model", "gpt-4o", *target]) == 0
    _, lines = examined()
    assert lines["policies"]["status"] == "ok"
    assert "0 of 2 agents" in lines["agents"]["message"]
    assert "gpt-4o" in lines["stops"]["message"]


def test_a_directory_that_cannot_be_written_fails(examined, tmp_path):
    """A worker would stop there; the line says which directory."""
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "state"  # Where not even root may write.
    code, lines = examined("--state-dir", str(place))
    assert (code, lines["state directory"]["status"]) == (8, "fail")


def test_a_state_directory_that_is_a_file_fails(examined, tmp_path):
    """The same, for everybody."""
    (tmp_path / "file").write_text("")
    code, lines = examined("--state-dir", str(tmp_path / "file" / "below"))
    assert (code, lines["state directory"]["status"]) == (8, "fail")


def test_without_a_broker_it_says_so(tmp_path, capsys):
    """Exit code 8, and what could be asked all the same."""
    code = run(["doctor", "--bootstrap", "127.0.0.1:1", "--state-dir", str(tmp_path)])
    assert code == 8
    assert "FAIL  broker" in capsys.readouterr().out
