"""``bench peers``: the same job on other stream frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from enforcer.cli.output import OutputFormat, emit, note, table, write
from enforcer.config import Settings
from enforcer.errors import ConfigError

if TYPE_CHECKING:
    from enforcer.bench.peers.beside import Plan


def plan_of(
    names: list[str] | None, rounds: int, seconds: float, *, rate: float, kills: int
) -> Plan:
    """
    The plan for what was asked; no name is all of them.

    Raises: ConfigError for a name that no framework has.
    """
    from enforcer.bench.peers.beside import Plan  # noqa: PLC0415 — brings the whole data plane
    from enforcer.bench.peers.systems import NAMES  # noqa: PLC0415 — as above
    from enforcer.bench.peers.trial import Trial  # noqa: PLC0415 — as above

    chosen = tuple(dict.fromkeys(names or NAMES))
    unknown = next((name for name in chosen if name not in NAMES), None)
    if unknown is not None:
        raise ConfigError(
            f"no such framework: {unknown}", help=f"it is one of {', '.join(NAMES)}; none is all"
        )
    return Plan(chosen, rounds, seconds, trial=Trial(rate, seconds, kills))


NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[quix|quix-default|faust]…", help="Which frameworks; none is all."),
]


def home() -> Any:
    """Where environments of frameworks are kept."""
    return Settings.load().home / "peers"


def show(answer: dict[str, Any], output: OutputFormat) -> None:
    """A column for each system."""
    if output is not OutputFormat.TABLE:
        emit(answer, output)
        return
    columns = {"echo": answer["baseline"], "enforcer": answer["figures"], **answer["peers"]}
    table(
        [
            {"figure": name.replace("_", " ")}
            | {system: figures.get(name) for system, figures in columns.items()}
            for name in answer["figures"]
        ]
    )
    write("")
    emit({"multiple": answer["multiple"], "share": answer["share"]}, output)
    write("")
    emit(answer["machine"], output)
    if answer["noisy"]:
        note("noisy: the baseline's rounds differ by more than 1.5; repeat on a quieter machine")
