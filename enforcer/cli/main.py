"""
The entry point: build the command, run it, turn what goes wrong into one clear line and an exit code.

Only the verb that is called is imported. All others stand in the overview with the text of their row
in ``verbs.py``, which keeps ``enforcer --help`` quick however much the verbs need.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer
from typer.exceptions import TyperException
from typer.main import get_command_name

from enforcer import __version__
from enforcer.cli.verbs import Verb, present
from enforcer.config import Settings, is_set
from enforcer.errors import EnforcerError, PolicyError, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typer.models import CommandInfo

_EXIT_CODES = (
    "Exit: 0 ok, 1 unexpected, 2 usage, 3 invalid policy, 4 tests failed, 5 not found, "
    "6 conflict, 7 auth, 8 unavailable, 9 integrity, 10 changes found."
)
_CONTEXT = {"help_option_names": ["-h", "--help"]}
_EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130
_COMPLETION = "_ENFORCER_COMPLETE"


def main() -> NoReturn:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """
    Run one command line and return its exit code; what a command function returns is its code.

    Args:
        arguments: Without the program's name.
    """
    try:
        status = build(arguments)(args=list(arguments), prog_name="enforcer", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_has_gone()
    except SystemExit as exited:
        # The parser makes an exit of a closed pipe, even where it is told to raise.
        if isinstance(exited.__context__, BrokenPipeError):
            return _reader_has_gone()
        raise
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except EnforcerError as error:
        return report(error)
    except Exception as error:  # noqa: BLE001 — the last place that can tell the user
        return _report_foreign(error)
    return status if isinstance(status, int) else 0


def _reader_has_gone() -> int:
    """
    No error: the reader has seen enough, as `enforcer tail … | head` does.

    What is still buffered goes nowhere, lest the interpreter complain at its end.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    return 0


def build(arguments: Sequence[str]) -> Callable[..., object]:
    """
    The command for one command line, with the called verb's code and the other verbs' summaries.

    Args:
        arguments: The command line; for the completion of a shell, every verb is loaded.
    """
    completing = is_set(_COMPLETION)
    called = next((word for word in arguments if not word.startswith("-")), None)
    app = typer.Typer(
        name="enforcer",
        help="Policies, budgets and proof for LLM traffic on Kafka.",
        epilog=_overview_examples(present()),
        context_settings=_CONTEXT,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback(invoke_without_command=True)(_root)
    for verb in present():
        _add(app, verb, load=completing or verb.name == called)
    return cast("Callable[..., object]", typer.main.get_command(app))


def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        typer.echo(f"enforcer {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _add(app: typer.Typer, verb: Verb, *, load: bool) -> None:
    options: dict[str, Any] = {
        "name": verb.name,
        "help": None,
        "short_help": verb.summary,
        "epilog": _examples(verb),
        "rich_help_panel": verb.panel,
        "context_settings": _CONTEXT,
    }
    target = verb.load() if load else None
    if isinstance(target, typer.Typer):
        for command in target.registered_commands:
            command.help = command.help or _paragraphs(command.callback, verb.summary)
            command.epilog = command.epilog or _examples(verb, command_name(command))
        options["help"] = target.info.help if isinstance(target.info.help, str) else verb.summary
        app.add_typer(target, **options, no_args_is_help=True)
        return
    function = _placeholder if target is None else target
    assert callable(function), verb.target
    options["help"] = verb.summary if target is None else _paragraphs(target, verb.summary)
    app.command(**options)(function)


def command_name(command: CommandInfo) -> str:
    """What a group's command is called: as it says, else as its function."""
    return command.name or get_command_name(getattr(command.callback, "__name__", ""))


def _paragraphs(function: object, otherwise: str) -> str:
    """
    The docstring, its lines joined: the terminal breaks them where it is wide.

    Brackets are escaped: to the terminal's markup `[proof]` would be a style, and vanish.
    """
    text = (inspect.getdoc(function) or otherwise).replace("[", "\\[")
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _placeholder() -> None:
    """Stands in the overview for a verb that is not called."""
    raise AssertionError("a verb that was not loaded was called")


def _examples(verb: Verb, command: str | None = None) -> str:
    """The end of a verb's help, or of one of its commands'."""
    examples = verb.examples if command is None else verb.examples_of(command)
    lines = "\n\n".join(f"  $ {example}" for example in examples)
    return f"Examples:\n\n{lines}\n\n{_EXIT_CODES}"


def _overview_examples(verbs: Sequence[Verb]) -> str:
    first: dict[str, str] = {}
    for verb in verbs:
        first.setdefault(verb.panel, verb.examples[0])
    lines = "\n\n".join(f"  $ {example}" for example in first.values())
    return f"Examples:\n\n{lines}\n\n{_EXIT_CODES}"


def report(error: EnforcerError) -> int:
    """Tell the user what is wrong and what to do next; the exit code."""
    if _debug():
        traceback.print_exception(error)
    span = error.span if isinstance(error, PolicyError) else Span()
    place = f"{span}: " if span != Span() else ""
    say(f"{place}error[{error.code}]: {error.message}")
    if error.help:
        say(f"help: {error.help}")
    return error.exit_code


def _report_foreign(error: Exception) -> int:
    """A mistake on the command line, or a bug: the first in the parser's words, the second in one line."""
    if isinstance(error, typer.Abort):
        return _EXIT_INTERRUPTED
    if isinstance(error, TyperException):
        return _report_usage(error)
    if _debug():
        traceback.print_exception(error)
    text = " ".join(str(error).split())[:300]
    say(f"error[unexpected]: {type(error).__name__}: {text}")
    say("help: this is a bug in enforcer; ENFORCER_DEBUG=1 shows where")
    return 1


def _report_usage(error: TyperException) -> int:
    context = getattr(error, "ctx", None)
    if not str(error) and context is not None:
        # A group without a verb: its help is the answer.
        say(context.get_help())
        return _EXIT_USAGE
    message = " ".join(
        error.format_message().removesuffix(".").replace("Value error, ", "").split()
    )
    say(f"error[usage]: {message[:1].lower()}{message[1:]}")
    if context is not None:
        say(f"help: {context.command_path} --help")
    return _EXIT_USAGE


def _debug() -> bool:
    try:
        return Settings.load().debug
    except EnforcerError:
        return False


def say(line: str) -> None:
    """One line for the user, on stderr, where nobody parses it."""
    sys.stderr.write(line + "\n")
