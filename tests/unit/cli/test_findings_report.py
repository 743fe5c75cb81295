"""How findings are told: as a listing, to CI systems, to code scanners, and again when files change."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time

import jsonschema
import pytest

from enforcer.cli import findings_report
from enforcer.cli.findings_report import CheckOutput, report
from enforcer.cli.main import run
from enforcer.errors import Span
from enforcer.policy import Finding

HEAD = "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: p, tenant: acme}\nspec:\n  rules:\n"
RULE = HEAD + "    - {id: r, when: user.email.size() > 3, then: deny}\n"

# The required parts of the format, and the types and bounds of all that is written: SARIF 2.1.0, sections 3.13 to 3.57.
TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
REGION = {
    "type": "object",
    "required": ["startLine"],
    "properties": {
        name: {"type": "integer", "minimum": 1}
        for name in ("startLine", "startColumn", "endLine", "endColumn")
    },
    "additionalProperties": False,
}
ARTIFACT = {
    "type": "object",
    "properties": {"uri": {"type": "string", "format": "uri-reference"}},
    "additionalProperties": False,
}
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "required": ["id"],
                                            "properties": {"shortDescription": TEXT, "help": TEXT},
                                        },
                                    }
                                },
                            }
                        },
                    },
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "invocations": {
                        "type": "array",
                        "items": {"required": ["executionSuccessful"]},
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message"],
                            "properties": {
                                "message": TEXT,
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "locations": {
                                    "type": "array",
                                    "items": {
                                        "properties": {
                                            "physicalLocation": {
                                                "properties": {
                                                    "artifactLocation": ARTIFACT,
                                                    "region": REGION,
                                                },
                                                "additionalProperties": False,
                                            }
                                        },
                                        "additionalProperties": False,
                                    },
                                },
                                "fixes": {
                                    "type": "array",
                                    "items": {
                                        "required": ["artifactChanges"],
                                        "properties": {
                                            "artifactChanges": {
                                                "minItems": 1,
                                                "items": {
                                                    "required": ["artifactLocation", "replacements"],
                                                    "properties": {
                                                        "artifactLocation": ARTIFACT,
                                                        "replacements": {
                                                            "minItems": 1,
                                                            "items": {
                                                                "required": ["deletedRegion"],
                                                                "properties": {
                                                                    "deletedRegion": REGION,
                                                                    "insertedContent": TEXT,
                                                                },
                                                            },
                                                        },
                                                    },
                                                }
                                            }
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}  # fmt: skip


def finding(line, column, *, length=0, severity="warning", message="it is", help_line="mend it"):
    """A finding in the source `p`."""
    return Finding("ENF0407", severity, message, Span("p", line, column), help_line, length)


def listing(text, found, capsys, **options):
    """The lines of a listing."""
    report([found], CheckOutput.TABLE, texts={"p": text}, **options)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("line", "column", "length", "shown", "marked"),
    [
        ("    when: a == b", 11, 6, "    when: a == b", "          ^^^^^^"),
        ("    mode: audit", 11, 0, "    mode: audit", "          ^^^^^"),
        ("    mode: 'au dit', x", 11, 0, "    mode: 'au dit', x", "          ^^^^^^^^"),
        ("    priorty: 1", 5, 0, "    priorty: 1", "    ^^^^^^^"),
        ("\twhen: ab", 8, 2, "    when: ab", "          ^^"),
        ("日本: 漢字x", 5, 3, "日本: 漢字x", "      ^^^^^"),
        ("e\u0301e: ab", 6, 2, "e\u0301e: ab", "    ^^"),
        ("a\x1b[2Jb", 1, 2, "a\ufffd[2Jb", "^^"),
        ("short", 40, 3, "short", "     ^"),
        ("a: b", 4, 90, "a: b", "   ^"),
    ],
)
def test_the_carets_stand_under_what_is_at_fault(line, column, length, shown, marked, capsys):
    """Under tabs, wide and combining characters alike; nothing in a source moves the terminal's cursor."""
    out = listing(line, finding(1, column, length=length), capsys)
    assert out == [
        f"p:1:{column}: warning[ENF0407]: it is",
        f"    1 | {shown}",
        f"      | {marked}",
        "    help: mend it",
    ]


def test_of_a_long_line_the_part_around_the_fault_is_shown(capsys):
    """A window with the fault in it, and signs where the line goes on."""
    text = "x" * 5_000 + "FAULT" + "y" * 5_000
    out = listing(text, finding(1, 5_001, length=5), capsys)
    source, carets = out[1], out[2]
    assert len(source) < 160
    assert source.startswith("    1 | …")
    assert source.endswith("…")
    at = carets.index("^")
    assert source[at : at + carets.count("^")] == "FAULT"


def test_a_source_that_is_gone_is_told_without_its_line(capsys):
    """The place is enough; no line is made up."""
    report([Finding("ENF0101", "error", "it is", Span("gone.yaml", 3, 4), "do")], CheckOutput.TABLE)
    assert capsys.readouterr().out == "gone.yaml:3:4: error[ENF0101]: it is\n    help: do\n"


def test_colours_are_for_terminals_alone(capsys, monkeypatch):
    """Escapes on a terminal, none with NO_COLOR, and none elsewhere."""

    class Terminal:
        def isatty(self):
            return True

        def write(self, text):
            return os.write(1, b"") or written.append(text)

        def flush(self):
            pass

    def told():
        written.clear()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", Terminal())
            report([finding(1, 1)], CheckOutput.TABLE, texts={"p": "a"})
        return "".join(written)

    written: list[str] = []
    assert "\x1b[1;33m" in told()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in told()
    monkeypatch.delenv("NO_COLOR")
    report([finding(1, 1)], CheckOutput.TABLE, texts={"p": "a"})
    assert "\x1b" not in capsys.readouterr().out


def test_annotations_of_a_ci_system(tmp_path, capsys):
    """One command a finding, its place and extent, with everything escaped that would end a command."""
    file = tmp_path / "a,b.yaml"
    file.write_text(RULE)
    assert run(["policy", "check", str(file), "--output", "github"]) == 3
    (line,) = capsys.readouterr().out.splitlines()
    place = f"file={str(file).replace(',', '%2C')},line=6,col=21,endColumn=31,title=ENF0801"
    assert line.startswith(f"::error {place}::`user.email` may be absent%0Ahelp: ")
    report([finding(2, 3, severity="info", message="50 %\nx")], CheckOutput.GITHUB, omitted=2)
    assert capsys.readouterr().out.splitlines() == [
        "::notice file=p,line=2,col=3,endColumn=4,title=ENF0407::50 %25%0Ax%0Ahelp: mend it",
        "::notice title=enforcer policy check::and 2 more",
    ]


def test_a_log_for_code_scanners(tmp_path, capsys, monkeypatch):
    """SARIF as its schema asks: results with rule, level, region and fix; relative paths as relative URIs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.yaml").write_text(RULE)
    assert run(["policy", "check", "a b.yaml", "--output", "sarif"]) == 3
    log = json.loads(capsys.readouterr().out)
    jsonschema.validate(log, SARIF)
    (found,) = log["runs"]
    (rule,) = found["tool"]["driver"]["rules"]
    (result,) = found["results"]
    assert (rule["id"], rule["shortDescription"]["text"]) == (
        "ENF0801",
        "A field that may be absent",
    )
    assert (result["ruleId"], result["ruleIndex"], result["level"]) == ("ENF0801", 0, "error")
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a%20b.yaml"
    assert place["region"] == {"startLine": 6, "startColumn": 21, "endColumn": 31}
    (change,) = result["fixes"][0]["artifactChanges"]
    (replacement,) = change["replacements"]
    assert replacement["insertedContent"]["text"] == "has(user.email) && "
    assert replacement["deletedRegion"] == {"startLine": 6, "startColumn": 21, "endColumn": 21}


def test_a_log_of_nothing_and_of_more_than_is_told(capsys):
    """No finding is an empty list; what is left out is a notification; a file without a place has no region."""
    report([], CheckOutput.SARIF)
    empty = json.loads(capsys.readouterr().out)
    jsonschema.validate(empty, SARIF)
    assert empty["runs"][0]["results"] == []
    report([Finding("ENF0101", "error", "x", Span("/a/b.yaml"))], CheckOutput.SARIF, omitted=7)
    log = json.loads(capsys.readouterr().out)
    jsonschema.validate(log, SARIF)
    assert "7 more" in json.dumps(log["runs"][0]["invocations"])
    (result,) = log["runs"][0]["results"]
    assert result["locations"] == [
        {"physicalLocation": {"artifactLocation": {"uri": "file:///a/b.yaml"}}}
    ]


@pytest.mark.parametrize("output", list(CheckOutput))
def test_beyond_a_hundred_the_rest_is_counted(output, tmp_path, capsys):
    """However findings are told, it is said how many there are beyond the cap."""
    file = tmp_path / "p.yaml"
    rules = (f"    - {{id: r{at}, when: user.email.size() > 3, then: deny}}\n" for at in range(130))
    file.write_text(HEAD + "".join(rules))
    assert run(["policy", "check", str(file), "--output", output.value]) == 3
    out, err = capsys.readouterr()
    assert "and 30 more" in out + err
    if output is CheckOutput.JSON:
        assert len(json.loads(out)) == 100


def test_a_watch_checks_again_when_a_file_changes(tmp_path):
    """A change, a file that is gone for a moment, a new one: each is checked, and an interrupt ends it."""
    file = tmp_path / "p.yaml"
    file.write_text(RULE)
    command = [sys.executable, "-m", "enforcer.cli", "policy", "check", "--watch", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert "1 errors" in told_until(process, "watching")
            file.write_text(RULE.replace("user.email.size() > 3", "llm.stream"))
            assert "0 errors" in told_until(process, "watching")
            file.unlink()
            assert "holds no documents" in told_until(process, "watching")
            (tmp_path / "q.yaml").write_text(RULE)
            assert "1 errors" in told_until(process, "watching")
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 130
            assert b"\x1b[2J" not in process.stdout.read()
        finally:
            process.kill()


def told_until(process, word):
    """What a process writes to stderr up to the line with *word*, within 30 s."""
    said, end = "", time.monotonic() + 30
    while word not in said and time.monotonic() < end:
        ready, _, _ = select.select([process.stderr], [], [], 1)
        if ready:
            said += os.read(process.stderr.fileno(), 65_536).decode()
    assert word in said, said
    return said


def test_stdin_is_not_watched(capsys):
    """It has an end; exit code 2."""
    assert run(["policy", "check", "--watch", "-"]) == 2
    assert "stdin" in capsys.readouterr().err


def test_columns_of_a_terminal():
    """One a character, two of a wide one, none of a combining one, four of a tab."""
    assert findings_report._columns("aé漢\t\u0301") == 1 + 1 + 2 + 4
