"""``enforcer policy fmt``: in place, as a check, as a diff, and from stdin."""

import io
import json
import sys

import pytest

from enforcer.cli.main import run

UGLY = "kind:  Policy\napiVersion: enforcer/v1 # v\nmetadata:   {id: p}\nspec: {rules: []}\n"
TIDY = "apiVersion: enforcer/v1  # v\nkind: Policy\nmetadata: {id: p}\nspec: {rules: []}\n"


@pytest.fixture
def fmt(capsys):
    """Run ``policy fmt``; exit code, stdout and stderr."""

    def call(*arguments):
        code = run(["policy", "fmt", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_files_are_rewritten_in_place(fmt, tmp_path):
    """Those that change are named; a second run changes none. Tests beside policies are files as well."""
    for name in ("a.yaml", "a.test.yaml"):
        (tmp_path / name).write_text(UGLY)
    (tmp_path / "b.yaml").write_text(TIDY)
    code, out, err = fmt(tmp_path)
    assert (code, out.splitlines()) == (0, [f"{tmp_path}/a.test.yaml", f"{tmp_path}/a.yaml"])
    assert "2 of 3 files" in err
    assert (tmp_path / "a.yaml").read_text() == TIDY
    assert fmt(tmp_path)[:2] == (0, "")


def test_a_check_writes_nothing(fmt, tmp_path):
    """Exit code 10 if something would change, 0 if not."""
    path = tmp_path / "a.yaml"
    path.write_text(UGLY)
    code, out, _ = fmt("--check", path)
    assert (code, out, path.read_text()) == (10, f"{path}\n", UGLY)
    path.write_text(TIDY)
    assert fmt("--check", path)[0] == 0


def test_a_diff_shows_the_change(fmt, tmp_path):
    """Unified, and nothing is written."""
    path = tmp_path / "a.yaml"
    path.write_text(UGLY)
    code, out, _ = fmt("--diff", path)
    assert (code, path.read_text()) == (0, UGLY)
    assert "-kind:  Policy" in out.splitlines()
    assert "+kind: Policy" in out.splitlines()
    assert fmt("--diff", "--check", path)[0] == 10


def test_stdin_goes_to_stdout(fmt, monkeypatch):
    """As an editor calls a formatter."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(UGLY.encode())))
    assert fmt("-")[:2] == (0, TIDY)


def test_what_cannot_be_read_is_a_finding(fmt, tmp_path):
    """Its place, exit code 3; the others are laid out."""
    (tmp_path / "a.yaml").write_text("a: 1\na: 2\n")
    (tmp_path / "b.yaml").write_text(UGLY)
    code, out, err = fmt(tmp_path)
    assert code == 3
    assert out == f"{tmp_path}/b.yaml\n"
    assert f"{tmp_path}/a.yaml:2:1: error[ENF0108]" in err
    assert (tmp_path / "b.yaml").read_text() == TIDY


def test_a_file_of_nothing_is_told(fmt, tmp_path):
    """A warning, as `policy check` has it, aside of what programs read."""
    (tmp_path / "a.yaml").write_text("# nothing yet\n")
    code, out, err = fmt(tmp_path, "--output", "json")
    assert code == 0
    assert json.loads(out) == [{"file": f"{tmp_path}/a.yaml", "changed": False}]
    assert "warning[ENF0113]" in err


def test_what_is_no_text_has_the_code_of_its_finding(fmt, tmp_path):
    """The same as `policy check` tells."""
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe")
    code, _, err = fmt(tmp_path)
    assert code == 3
    assert "error[ENF0101]" in err


def test_programs_read_json(fmt, tmp_path):
    """A row a file."""
    (tmp_path / "a.yaml").write_text(UGLY)
    code, out, _ = fmt("--check", "--output", "json", tmp_path)
    assert code == 10
    assert json.loads(out) == [{"file": f"{tmp_path}/a.yaml", "changed": True}]


def test_no_such_path(fmt, tmp_path):
    """Exit code 5."""
    assert fmt(tmp_path / "nowhere")[0] == 5
