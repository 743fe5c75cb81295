"""``policy``: check documents, put them in force, look at those that are."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from enforcer.cli import (
    policy_check,
    policy_compile,
    policy_fmt,
    policy_import,
    policy_keys,
    policy_prove,
    policy_schema,
    policy_test,
)
from enforcer.cli.broker_options import BootstrapOption, KafkaConfigOption, PrefixOption, resolve
from enforcer.cli.findings_report import report
from enforcer.cli.output import OutputFormat, OutputOption, emit, note, write
from enforcer.cli.policy_files import load
from enforcer.cli.policy_keys import (
    PolicyKeysOption,
    SignKeyOption,
    author,
    signing_of,
    verifier_of,
)
from enforcer.cli.policy_wait import TimeoutOption, WaitOption, show_changes, show_in_force
from enforcer.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from enforcer.broker import KafkaBroker

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True)
app.command("check")(policy_check.check)
app.command("test")(policy_test.run_tests)
app.command("fmt")(policy_fmt.fmt)
app.command("compile")(policy_compile.compile_)
app.command("prove")(policy_prove.prove)
app.command("equivalent")(policy_prove.equivalent)
app.command("import")(policy_import.import_)
app.command("schema")(policy_schema.schema)
app.command("keygen")(policy_keys.keygen)
app.command("sign")(policy_keys.sign)


@app.command("apply")
def apply_(
    paths: policy_check.PathsArgument,
    tenant: policy_check.TenantOption = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Take everything else of the same scopes out of force.")
    ] = False,
    sign_key: SignKeyOption = None,
    keys: PolicyKeysOption = None,
    wait: WaitOption = False,
    timeout_s: TimeoutOption = 30.0,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> int:
    """
    Put documents in force, all at once; what does not check is refused whole.

    Each replaces the document of its scope, kind and id; the others stay. With --wait, say how many agents have it in
    force as they come in; exit code 8 if some have not in time.
    """
    loaded = load(paths, tenant=tenant)
    if any(f.severity == "error" for f in loaded.findings):
        report(loaded.findings, output)
        note("nothing was applied")
        return 3
    for finding in loaded.findings:
        note(f"{finding.span}: {finding.severity}[{finding.code}]: {finding.message}")
    if not loaded.documents:
        raise NotFoundError("there is no document to apply", help="give files that hold some")
    from enforcer.control import policies  # noqa: PLC0415 — only who writes needs it

    target = resolve(bootstrap, prefix, kafka_config=kafka_config)
    signing = signing_of(sign_key, keys, target.prefix)

    async def work(broker: KafkaBroker) -> None:
        changes = await policies.apply(
            broker, target.prefix, loaded.documents, prune=prune, author=author(), signing=signing
        )
        scopes = {document.scope for document in loaded.documents}
        await show_in_force(
            broker,
            target.prefix,
            changes,
            scopes,
            output=output,
            timeout_s=timeout_s if wait else None,
        )

    _with_broker(bootstrap, prefix, kafka_config, work)
    return 0


@app.command()
def stop(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Stop this tenant.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Stop this model, by its name, alias or provider/model."),
    ] = None,
    provider: Annotated[str | None, typer.Option("--provider", help="Stop this provider.")] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the stop of exactly these names out of force.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="What callers are told.")] = "",
    sign_key: SignKeyOption = None,
    keys: PolicyKeysOption = None,
    wait: WaitOption = False,
    timeout_s: TimeoutOption = 30.0,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    The kill switch: deny every request of a tenant, to a model or to a provider, until it is undone.

    Whatever the policies say, such a request is denied, `stopped`. Names given together must all hold. A stop is in
    the history and in the ledger, and stays over restarts; `policy list` shows it.
    """
    given = {"tenant": tenant, "model": model, "provider": provider}
    names = {key: value for key, value in given.items() if value}
    if not names:
        raise ConfigError(
            "nothing to stop is named", help="give --tenant, --model or --provider", code="usage"
        )
    from enforcer.control import stops  # noqa: PLC0415 — as above
    from enforcer.policy import STOPS  # noqa: PLC0415 — as above

    target = resolve(bootstrap, prefix, kafka_config=kafka_config)
    signing = signing_of(sign_key, keys, target.prefix)

    async def work(broker: KafkaBroker) -> None:
        changes = await stops.stop(
            broker, target.prefix, names, undo=undo, reason=reason, author=author(), signing=signing
        )
        if tenant and not undo:
            await _doubt_tenant(broker, target.prefix, tenant)
        await show_in_force(
            broker,
            target.prefix,
            changes,
            {STOPS},
            output=output,
            timeout_s=timeout_s if wait else None,
        )

    _with_broker(bootstrap, prefix, kafka_config, work)


async def _doubt_tenant(broker: KafkaBroker, prefix: str, tenant: str) -> None:
    from enforcer.control import policies  # noqa: PLC0415 — as above

    doubt = tenant_doubt(
        tenant, {document.scope for document in await policies.list_documents(broker, prefix)}
    )
    if doubt:
        note(doubt)


def tenant_doubt(tenant: str, known: set[str]) -> str:
    """What to say of a stopped tenant that no document names: a slip in a kill switch stops nobody. "" for one that is known."""
    if tenant in known:
        return ""
    near = difflib.get_close_matches(tenant, sorted(known), n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"warning: no document in force names the tenant `{tenant}`{meant}"


@app.command("list")
def list_(
    keys: PolicyKeysOption = None,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List every document in force; with --policy-keys, what agents refuse too."""
    from enforcer.control import policies  # noqa: PLC0415 — only who reads the topic needs it

    target = resolve(bootstrap, prefix, kafka_config=kafka_config)
    found = _with_broker(
        bootstrap,
        prefix,
        kafka_config,
        lambda broker: policies.list_documents(
            broker, target.prefix, verifier_of(keys, target.prefix)
        ),
    )
    if output is OutputFormat.TABLE and not found:
        note("no policy is in force; `enforcer policy apply PATH` puts some there")
    emit(found, output)


@app.command()
def show(
    document_id: Annotated[str, typer.Argument(metavar="ID")],
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="Of this scope, if several have the id.")
    ] = None,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Print a document in force as its author wrote it."""
    from enforcer.control import policies  # noqa: PLC0415 — as above

    target = resolve(bootstrap, prefix, kafka_config=kafka_config)
    document = _with_broker(
        bootstrap,
        prefix,
        kafka_config,
        lambda broker: policies.show_document(broker, target.prefix, document_id, scope=tenant),
    )
    if output is OutputFormat.TABLE:
        write((document.source or document.canonical).rstrip("\n"))
    else:
        emit(document, output)


@app.command()
def delete(
    document_id: Annotated[str, typer.Argument(metavar="ID")],
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="Of this scope, if several have the id.")
    ] = None,
    sign_key: SignKeyOption = None,
    keys: PolicyKeysOption = None,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Take a document out of force. The history keeps it."""
    from enforcer.control import policies  # noqa: PLC0415 — as above

    target = resolve(bootstrap, prefix, kafka_config=kafka_config)
    signing = signing_of(sign_key, keys, target.prefix)
    changes = _with_broker(
        bootstrap,
        prefix,
        kafka_config,
        lambda broker: policies.delete(
            broker, target.prefix, document_id, scope=tenant, author=author(), signing=signing
        ),
    )
    show_changes(changes, output)


def _with_broker(
    bootstrap: str | None,
    prefix: str | None,
    kafka_config: Path | None,
    work: Callable[[KafkaBroker], Awaitable[T]],
) -> T:
    import asyncio  # noqa: PLC0415 — 40 ms that `--help` need not pay

    from enforcer.broker import KafkaBroker, load  # noqa: PLC0415 — only who connects needs the client

    target = resolve(bootstrap, prefix, kafka_config=kafka_config)

    async def run() -> T:
        config = load(bootstrap=target.bootstrap, prefix=target.prefix, file=target.kafka_config)
        async with KafkaBroker(config) as broker:
            return await work(broker)

    return asyncio.run(run())
