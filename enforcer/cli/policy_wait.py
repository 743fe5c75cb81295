"""What a change of policies says for itself, and the wait until every agent has it in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from enforcer.cli.output import OutputFormat, emit, note, write

if TYPE_CHECKING:
    from collections.abc import Iterable

    from enforcer.broker import Broker
    from enforcer.control.acks import InForce
    from enforcer.control.policies import SetChange

WaitOption: TypeAlias = Annotated[
    bool, typer.Option("--wait", help="End when every agent has it in force, saying how many have.")
]
TimeoutOption: TypeAlias = Annotated[
    float,
    typer.Option("--timeout", min=0.1, metavar="SECONDS", help="Of --wait; then exit code 8."),
]


def show_changes(changes: list[SetChange], output: OutputFormat) -> None:
    """The sets that are other now."""
    if output is not OutputFormat.TABLE:
        emit(changes, output)
        return
    for change in changes:
        write(f"{change.scope}: revision {change.revision}, set {change.digest[:12]}")
        for sign, names in (("+", change.added), ("~", change.changed), ("-", change.removed)):
            for name in names:
                write(f"  {sign} {name}")
    note("in force" if changes else "nothing to change")


async def show_in_force(
    broker: Broker,
    prefix: str,
    changes: list[SetChange],
    scopes: Iterable[str],
    *,
    output: OutputFormat,
    timeout_s: float | None,
) -> None:
    """
    Show *changes*; with *timeout_s* wait until every agent decides under the newest sets of *scopes*.

    As JSON the answer of a wait is ``{changes, agents, of, seconds, invalid}``.

    Raises: UnavailableError, if some agents have not in time.
    """
    if timeout_s is None:
        show_changes(changes, output)
        return
    from enforcer.control import acks, policies  # noqa: PLC0415 — only who waits needs it

    named = list(scopes)
    offset = max((change.offset for change in changes), default=-1)
    if offset < 0:
        # Nothing has changed: what is there already may still be on its way to somebody.
        offset = await policies.set_offset(broker, prefix, named)
    is_table = output is OutputFormat.TABLE
    if is_table:
        show_changes(changes, output)

    def told(state: InForce) -> None:
        line = f"{state.agents} of {state.of} agents"
        if is_table:
            write(line)
        else:
            note(line)

    state = await acks.wait_in_force(
        broker,
        prefix,
        offset,
        scopes=named,
        timeout_s=timeout_s,
        told=told,
    )
    for scope, why in sorted(state.invalid.items()):
        note(f"every request of {scope} is denied, policy_invalid: {why}")
    if is_table:
        note(f"in force on every agent after {state.seconds:.2f} s")
    else:
        answer = {
            "changes": changes,
            "agents": state.agents,
            "of": state.of,
            "seconds": round(state.seconds, 3),
            "invalid": state.invalid,
        }
        emit(answer, output)
