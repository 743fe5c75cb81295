"""The command line's frame: what it costs, what it prints where, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from enforcer import __version__
from enforcer.cli import main, verbs
from enforcer.cli.verbs import Verb
from enforcer.errors import ConflictError, NotFoundError, PolicyError, Span, UnavailableError

ROOT = Path(__file__).resolve().parent.parent.parent.parent
# In a process of its own, `enforcer --help` may import these only by mistake: each costs more than
# the whole command may take.
HEAVY = ("aiokafka", "pydantic", "rocksdict", "jgo", "requests", "psutil", "asyncio", "fastavro")


def enforcer(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "enforcer.cli", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"} | environment,
        timeout=60,
        check=False,
    )


@pytest.fixture
def with_verb(monkeypatch):
    """Replace the table by one verb with this function or group."""

    def replace(target: object, name: str = "try") -> None:
        verb = Verb(name, "enforcer.cli.main:run", verbs.TRY, "Tries.", (f"enforcer {name}",))
        monkeypatch.setattr(main, "present", lambda: (verb,))
        monkeypatch.setattr(Verb, "load", lambda _: target)

    return replace


def test_help_has_its_panels_and_examples() -> None:
    """The overview shows every verb that exists, in its panel, with examples and exit codes."""
    done = enforcer("--help")

    assert done.returncode == 0
    for verb in verbs.present():
        assert verb.panel in done.stdout
        assert f" {verb.name} " in done.stdout
    assert "$ enforcer up" in done.stdout or "$ enforcer demo" in done.stdout
    assert "8 unavailable" in done.stdout


def test_help_is_quick() -> None:
    """
    `--help` costs at most half as much again as the library that prints it.

    Processor time, the best of a few tries, beside its baseline: what else runs on the machine does not count.
    """

    def best(command: list[str]) -> float:
        times = []
        for _ in range(4):
            before = os.times()
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            subprocess.run(command, capture_output=True, check=True, env=environment)
            after = os.times()
            user_s = after.children_user - before.children_user
            times.append(user_s + after.children_system - before.children_system)
        return min(times)

    library = best([sys.executable, "-c", "import typer.rich_utils"])
    overview = best([sys.executable, "-m", "enforcer.cli", "--help"])

    assert overview < 1.5 * library


def test_help_imports_no_verb() -> None:
    """Neither a verb's module nor a library of the data plane is imported for the overview."""
    code = (
        "import sys; from enforcer.cli import main; main.run(['--help']);"
        f"print([m for m in sys.modules if m in {HEAVY!r} or m.startswith('enforcer.local')],"
        "file=sys.stderr)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("verb", verbs.present(), ids=lambda verb: verb.name)
def test_every_listed_verb_loads(verb: Verb) -> None:
    """A verb whose module is there has the function or group that the table names."""
    target = verb.load()

    assert callable(target) or isinstance(target, typer.Typer)


@pytest.mark.parametrize("verb", verbs.present(), ids=lambda verb: verb.name)
def test_every_verb_has_help_with_examples(verb: Verb) -> None:
    """Each verb's own help ends with its examples."""
    done = enforcer(verb.name, "--help")

    assert done.returncode == 0, done.stderr
    assert all(f"$ {example}" in done.stdout for example in verb.examples)


COMMANDS = [
    (verb, main.command_name(command))
    for verb in verbs.present()
    if isinstance(group := verb.load(), typer.Typer)
    for command in group.registered_commands
]


@pytest.mark.parametrize(
    ("verb", "command"), COMMANDS, ids=[f"{verb.name}-{command}" for verb, command in COMMANDS]
)
def test_every_command_of_a_group_has_examples_that_it_takes(
    verb: Verb, command: str, capsys, monkeypatch
) -> None:
    """A command's help ends with examples of its own, whose options it has."""
    monkeypatch.setenv("COLUMNS", "200")
    assert main.run([verb.name, command, "--help"]) == 0

    said = capsys.readouterr().out
    assert verb.examples_of(command)
    for example in verb.examples_of(command):
        assert f"$ {example}" in said
        options = [word for word in example.split() if word.startswith("--")]
        assert all(f" {option} " in said.partition("Examples:")[0] for option in options), example


def test_brackets_of_a_docstring_are_shown(capsys, monkeypatch) -> None:
    """An extra's name is text, and no style of the terminal."""
    monkeypatch.setenv("COLUMNS", "200")
    assert main.run(["policy", "prove", "--help"]) == 0

    assert "pip install 'llm-enforcer[proof]'" in capsys.readouterr().out


def test_the_table_is_in_order() -> None:
    """Names are unique, panels are the four, and examples call the verb that they show."""
    names = [verb.name for verb in verbs.VERBS]

    assert len(set(names)) == len(names)
    assert {verb.panel for verb in verbs.VERBS} == {"Try it", "Run it", "Policies", "Inspect"}
    for verb in verbs.VERBS:
        assert all(example.startswith(f"enforcer {verb.name}") for example in verb.examples)


def test_a_verb_without_module_is_not_listed(monkeypatch) -> None:
    """What is not built yet is not promised."""
    absent = Verb("x", "enforcer.cli.not_there:x", verbs.TRY, "X.", ())
    monkeypatch.setattr(verbs, "VERBS", (*verbs.VERBS, absent))

    assert absent not in verbs.present()


def test_version() -> None:
    """The version goes to stdout."""
    done = enforcer("--version")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"enforcer {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), "no such command"),
        (("up", "--nothing"), "no such option"),
        (("up", "--port", "x"), "--port"),
        (("up", "--port", "70000"), "--port"),
        (("status", "--output", "xml"), "--output"),
        (("up", "unexpected"), "unexpected"),
        (("tail",), "Choose from: decisions, audit"),
    ],
)
def test_mistakes_on_the_command_line(arguments, words: str) -> None:
    """A usage error is two lines on stderr, nothing on stdout, exit code 2."""
    done = enforcer(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("error[usage]: ")
    assert words in first
    assert second.startswith("help: enforcer")


@pytest.mark.parametrize(
    ("arguments", "help_line"),
    [
        (("replay", "--fail-on", "deny-to-allow"), "name the candidate: --policies PATH"),
        (("replay", "--prune"), "name the candidate: --policies PATH"),
        (("policy", "prove", "x.yaml", "--then", "deny"), """write --then 'verdict == "deny"'"""),
    ],
    ids=["fail-on", "prune", "then"],
)
def test_options_that_make_no_sense_are_refused(arguments, help_line: str, capsys) -> None:
    """What could only mislead ends with exit code 2, and what to write instead."""
    assert main.run(arguments) == 2

    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("error[usage]: ")
    assert said[1] == f"help: {help_line}"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PolicyError("bad"), 3),
        (NotFoundError("bad"), 5),
        (ConflictError("bad"), 6),
        (UnavailableError("bad"), 8),
    ],
)
def test_an_error_on_purpose_is_its_line_and_code(with_verb, capsys, error, code: int) -> None:
    """Each error says its code, its message and its help, and ends with its own exit code."""
    error.help = "do this"

    def fail() -> None:
        raise error

    with_verb(fail)

    assert main.run(["try"]) == code
    assert capsys.readouterr() == ("", f"error[{error.code}]: bad\nhelp: do this\n")


def test_a_policy_error_names_its_place(with_verb, capsys) -> None:
    """What an author has to change is found by file, line and column, or by the option it came with."""

    def fail() -> None:
        raise PolicyError("bad", span=Span("--then", 1, 11))

    with_verb(fail)

    assert main.run(["try"]) == 3
    assert capsys.readouterr() == ("", "--then:1:11: error[policy]: bad\n")


def test_a_bug_is_one_line_and_code_one(with_verb, capsys, monkeypatch) -> None:
    """An unexpected exception is said in a line, and how to see more; the traceback on demand."""

    def fail() -> None:
        raise ValueError("two\nlines")

    with_verb(fail)

    assert main.run(["try"]) == 1
    quiet = capsys.readouterr().err
    assert quiet.startswith("error[unexpected]: ValueError: two lines\n")
    assert "Traceback" not in quiet
    monkeypatch.setenv("ENFORCER_DEBUG", "1")
    assert main.run(["try"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("value", "code"), [(None, 0), (0, 0), (10, 10)])
def test_what_a_verb_returns_is_its_exit_code(with_verb, value, code: int) -> None:
    """A verb returns its exit code; nothing is 0."""
    with_verb(lambda: value)

    assert main.run(["try"]) == code


def test_a_verb_may_exit(with_verb) -> None:
    """`typer.Exit` is an exit code as well."""

    def leave() -> None:
        raise typer.Exit(4)

    with_verb(leave)

    assert main.run(["try"]) == 4


def test_ctrl_c_is_quiet(with_verb, capsys) -> None:
    """Ctrl-C says nothing and exits 130."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with_verb(interrupt)

    assert main.run(["try"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_closed_pipe_is_no_error() -> None:
    """`enforcer … | head` ends quietly with code 0 when the reader has gone."""
    code = (
        "import sys; from enforcer.cli import main, verbs\n"
        "from enforcer.cli.output import write\n"
        "def flood():\n"
        "    while True: write('x' * 1000)\n"
        "verb = verbs.Verb('flood', 'enforcer.cli.main:run', verbs.TRY, 'F.', ('e',))\n"
        "main.present = lambda: (verb,)\n"
        "verbs.Verb.load = lambda _: flood\n"
        "sys.exit(main.run(['flood']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    with process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""

    assert process.returncode == 0


def test_a_group_of_verbs(with_verb, capsys) -> None:
    """A typer group is a verb with verbs; without one it prints its help and exits 2."""
    group = typer.Typer(help="A group.")

    @group.command()
    def one() -> int:
        """
        Does one thing
        on two lines.
        """
        return 5

    @group.command()
    def two() -> None:
        """Does another."""

    with_verb(group)

    assert main.run(["try", "one"]) == 5
    assert main.run(["try"]) == 2
    shown = capsys.readouterr()
    assert "Does one thing on two lines." in shown.out + shown.err


def test_completion_knows_all_verbs() -> None:
    """The shell's completion is asked with a variable; it completes verbs and options."""
    done = enforcer(_ENFORCER_COMPLETE="complete_bash", COMP_WORDS="enforcer sta", COMP_CWORD="1")

    assert "status" in done.stdout


def test_interrupting_the_process_is_quiet(tmp_path) -> None:
    """SIGINT from the terminal, before anything is started: exit 130 and no traceback."""
    code = (
        "import signal, os, sys; from enforcer.cli import main\n"
        "main.build = lambda _: lambda **k: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(main.run([]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=20,
        check=False,
    )

    assert (done.returncode, done.stderr) == (130, "")


def test_status_answers_as_json_with_its_code(tmp_path) -> None:
    """Data go to stdout as JSON, also when the answer is no; the code says so too."""
    done = enforcer("status", "--output", "json", ENFORCER_HOME=str(tmp_path))

    assert done.returncode == 8
    assert json.loads(done.stdout)["running"] is False
    assert done.stderr == ""
