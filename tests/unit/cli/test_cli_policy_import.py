"""``enforcer policy import``: documents, the report, and files that are there already."""

import json

import pytest

from enforcer.cli.main import run

OLD = """\
metadata: {id: cost-001, name: Cost}
rules:
  - id: r1
    condition: {operator: in, field: llm.model, value: [gpt-4]}
    action: {decision: deny, reason: No}
  - id: r2
    condition: {operator: matches, field: llm.model, value: "(?=x)"}
    action: {decision: deny}
"""


@pytest.fixture
def old(tmp_path):
    """A file of the existing engine."""
    path = tmp_path / "cost.yaml"
    path.write_text(OLD)
    return path


def call(capsys, *arguments):
    code = run(["policy", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_documents_go_to_stdout_and_the_report_to_stderr(old, capsys, tmp_path):
    """What is printed checks, and is laid out."""
    code, out, err = call(capsys, "import", old)
    assert code == 0
    assert f"{old}:3:5: cost-001/r1: exact" in err
    assert f"{old}:6:5: cost-001/r2: not possible" in err
    assert "1 exact, 0 changed, 1 not possible" in err
    (tmp_path / "new.yaml").write_text(out)
    assert call(capsys, "check", tmp_path / "new.yaml")[0] == 0
    assert call(capsys, "fmt", "--check", tmp_path / "new.yaml")[0] == 0


def test_files_are_written_and_not_overwritten(old, capsys, tmp_path):
    """A file for each file; the report is then the data. A second run is a conflict, exit code 6."""
    out_dir = tmp_path / "new"
    code, out, _ = call(capsys, "import", old, "--out", out_dir, "--tenant", "acme")
    assert (code, "cost-001/r1: exact" in out) == (0, True)
    assert "tenant: acme" in (out_dir / "cost.yaml").read_text()
    assert call(capsys, "import", old, "--out", out_dir)[0] == 6
    assert call(capsys, "import", old, "--out", out_dir, "--force")[0] == 0


def test_strict_says_with_its_exit_code_that_a_rule_was_left_out(old, capsys, tmp_path):
    """4 where a rule is not possible, though everything is written and told; 0 where each found its place."""
    code, out, err = call(capsys, "import", old, "--strict")
    assert (code, "1 exact, 0 changed, 1 not possible" in err) == (4, True)
    assert out == call(capsys, "import", old)[1] != ""
    old.write_text(OLD[: OLD.index("  - id: r2")])
    assert call(capsys, "import", old, "--strict")[0] == 0


def test_programs_read_json(old, capsys):
    """Documents and a row a rule."""
    code, out, _ = call(capsys, "import", old, "--output", "json")
    found = json.loads(out)
    assert (code, len(found["documents"])) == (0, 1)
    assert [(each["rule"], each["status"], each["line"]) for each in found["rules"]] == [
        ("r1", "exact", 3),
        ("r2", "not possible", 6),
    ]


def test_a_file_of_another_kind_is_refused(capsys, tmp_path):
    """Exit code 3, with its place."""
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\n")
    code, out, _ = call(capsys, "import", path)
    assert (code, f"{path}:1:1: error[ENF0602]" in out) == (3, True)
