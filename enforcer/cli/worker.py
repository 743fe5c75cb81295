"""``worker``: one process of agents, from start to drained stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enforcer.cli.broker_options import BootstrapOption, KafkaConfigOption, PrefixOption, resolve
from enforcer.cli.policy_keys import PolicyKeysOption, public_keys
from enforcer.config import Settings, pseudonym_key, readable_by_others, redaction_key
from enforcer.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from enforcer.broker import BrokerConfig
    from enforcer.cli.key_watch import KeyWatch
    from enforcer.detect import Models
    from enforcer.stream.config import WorkerConfig
    from enforcer.stream.supervision import ChildEnd
    from enforcer.stream.worker import Worker
    from enforcer.telemetry import Metrics
    from enforcer.tracing import Spans

_FACT_CACHE_KEY_BYTES = 32
PROCESSES_MAX = 256
PUBLIC_KEY = b"enforcer-unkeyed"
"""What pseudonyms are made with where no key is given: the same for everybody, and no secret."""


def worker(
    group: Annotated[
        str | None,
        typer.Option(
            help="Consumer group; workers of one group share the partitions. Default: the prefix."
        ),
    ] = None,
    instance_id: Annotated[
        str | None,
        typer.Option("--instance-id", help="Name of this worker, kept in its state directory."),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            max=PROCESSES_MAX,
            help="Run so many workers under a parent that starts each again when it ends. Default: one, without a parent.",
        ),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            "--state-dir",
            help="Tables and identity; one directory a worker, and in it one each with --processes.",
            file_okay=False,
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            min=0,
            max=65_535,
            help="Serve /live, /ready and /metrics here; 0 takes a free port.",
        ),
    ] = None,
    metrics_host: Annotated[
        str, typer.Option("--metrics-host", help="On this address.")
    ] = "127.0.0.1",
    commit_interval_ms: Annotated[
        int,
        typer.Option(
            "--commit-interval-ms",
            min=1,
            max=60_000,
            help="How far the ledger may lag behind the verdicts.",
        ),
    ] = 100,
    policy_stale_ms: Annotated[
        int,
        typer.Option(
            "--policy-stale-ms",
            min=2_000,
            help="How long policies may not be known to be the newest; then on_stale_policies holds.",
        ),
    ] = 30_000,
    pseudonym_key_file: Annotated[
        Path | None,
        typer.Option(
            "--pseudonym-key-file",
            help="Key of the pseudonyms in row keys, the same for all workers.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    redaction_key_file: Annotated[
        Path | None,
        typer.Option(
            "--redaction-key-file",
            help="Key of the redaction styles hash and pseudonym, the same for all workers; else ENFORCER_REDACTION_KEY_FILE.",
            dir_okay=False,
        ),
    ] = None,
    policy_keys: PolicyKeysOption = None,
    entities: Annotated[
        str | None,
        typer.Option(
            "--entities",
            metavar="MODULE:FUNCTION",
            help="A recogniser of entities (Presidio, any NER): text to (kind, start, end, confidence).",
        ),
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option(
            "--injection-classifier",
            metavar="MODULE:FUNCTION",
            help="A classifier of injections: text to a probability; see docs/detectors.md for ONNX.",
        ),
    ] = None,
    model_deadline_ms: Annotated[
        int,
        typer.Option("--model-deadline-ms", min=1, max=60_000, help="How long either may take."),
    ] = 200,
    log_level: Annotated[
        str, typer.Option("--log-level", help="debug, info, warning or error.")
    ] = "info",
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
) -> int:
    """
    Run agents that decide requests, until SIGTERM or Ctrl-C.

    A stop drains: what was fetched is decided, told and committed, the group is left and the tables are closed.
    --policy-keys are read again every few seconds, and on SIGHUP.
    With --processes a worker that is killed is started again in its place within a second, and its partitions stay with it.
    Logs are JSON on stderr and never hold text of a prompt.
    """
    from enforcer.broker.config import load  # noqa: PLC0415 — the client is loaded by those who connect
    from enforcer.telemetry import setup_logging  # noqa: PLC0415 — as above

    setup_logging(log_level)
    target = resolve(bootstrap, prefix, kafka_config=kafka_config)
    settings = Settings.load()
    given = Given(
        state_dir=state_dir or settings.home / "worker" / target.prefix,
        instance_id=instance_id,
        settings={
            "prefix": target.prefix,
            "group_id": group or target.prefix,
            "commit_interval_ms": commit_interval_ms,
            "policy_stale_ms_max": policy_stale_ms,
            "pseudonym_key": _pseudonym_key(pseudonym_key_file),
            "redaction_key": redaction_key(redaction_key_file or settings.redaction_key_file),
            "policy_keys": public_keys(policy_keys, settings),
        },
        policy_keys=policy_keys or settings.policy_keys,
        broker=load(bootstrap=target.bootstrap, prefix=target.prefix, file=target.kafka_config),
        metrics_host=metrics_host,
        metrics_port=metrics_port,
        models=lambda: models_of(entities, classifier, deadline_ms=model_deadline_ms),
    )
    redaction_file = redaction_key_file or settings.redaction_key_file
    _warn_of_readable([pseudonym_key_file, redaction_file, *given.broker.secret_files])
    if processes is None:
        run_one(given)
        return 0
    from enforcer.cli.worker_processes import run_processes  # noqa: PLC0415 — as above

    return run_processes(given, processes, log_level=log_level)


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line asks for, for one worker or for each of several."""

    state_dir: Path
    instance_id: str | None
    settings: dict[str, Any]
    """Of ``WorkerConfig``, but for identity and directory."""
    broker: BrokerConfig
    metrics_host: str
    metrics_port: int | None
    models: Callable[[], Models]
    policy_keys: Path | None = None
    """Where keys are read again while it runs."""

    def of_process(self, number: int) -> Given:
        """The same for one of several: a directory and a name of its own; its parent shows its metrics."""
        name = None if self.instance_id is None else f"{self.instance_id}-{number}"
        return replace(
            self, state_dir=self.state_dir / str(number), instance_id=name, metrics_port=None
        )


def _warn_of_readable(files: Iterable[Path | None]) -> None:
    """Say which files with secrets others on this machine can read. Not refused: a mounted secret may be so."""
    from enforcer.telemetry import logger  # noqa: PLC0415 — as above

    for file in files:
        if file is not None and readable_by_others(file):
            logger().warning("secret_readable_by_others", path=str(file), help=f"chmod 600 {file}")


def _pseudonym_key(file: Path | None) -> bytes:
    from enforcer.telemetry import logger  # noqa: PLC0415 — as above

    key = pseudonym_key(file) or PUBLIC_KEY
    if key == PUBLIC_KEY:
        logger().warning(
            "pseudonym_key_is_public",
            help="user ids can be guessed from rows: give all workers one --pseudonym-key-file",
        )
    return key


def run_one(given: Given, *, parent: ChildEnd | None = None) -> None:
    """Be one worker until it is stopped."""
    import uvloop  # noqa: PLC0415 — a worker's loop

    from enforcer.stream.config import WorkerConfig  # noqa: PLC0415 — as above
    from enforcer.stream.identity import Identity  # noqa: PLC0415 — as above

    identity = Identity.hold(given.state_dir, given.instance_id)
    try:
        config = WorkerConfig(
            instance_id=identity.instance_id, state_dir=given.state_dir, **given.settings
        )
        uvloop.run(
            serve(
                config,
                given.broker,
                metrics_host=given.metrics_host,
                metrics_port=given.metrics_port,
                models=given.models(),
                parent=parent,
                policy_keys=given.policy_keys,
            )
        )
    finally:
        identity.release()


async def serve(
    config: WorkerConfig,
    broker_config: BrokerConfig,
    *,
    metrics_host: str = "127.0.0.1",
    metrics_port: int | None = None,
    models: Models | None = None,
    parent: ChildEnd | None = None,
    policy_keys: Path | None = None,
) -> None:
    """
    Run one worker in this event loop until SIGTERM or SIGINT, or until *parent* has gone.

    *policy_keys* is read again meanwhile, and at once on SIGHUP.
    """
    from enforcer import detect, store  # noqa: PLC0415 — vocabularies take their time
    from enforcer.broker import KafkaBroker  # noqa: PLC0415 — as above
    from enforcer.cli.key_watch import KeyWatch  # noqa: PLC0415 — as above
    from enforcer.engine import Engine, EngineConfig  # noqa: PLC0415 — as above
    from enforcer.stream import vocabularies  # noqa: PLC0415 — as above
    from enforcer.stream.tables import open_signed_sets, open_table  # noqa: PLC0415 — as above
    from enforcer.stream.text_readers import TextReaders  # noqa: PLC0415 — as above
    from enforcer.stream.worker import Worker  # noqa: PLC0415 — as above
    from enforcer.telemetry import HealthServer, Metrics  # noqa: PLC0415 — as above

    metrics = Metrics()
    facts = detect.FactCache(os.urandom(_FACT_CACHE_KEY_BYTES))
    metrics.show("facts_cached", "Texts whose facts are remembered.", lambda: {"": len(facts)})
    metrics.show(
        "table_memory_bytes", "Memory that RocksDB holds.", store.memory_bytes, label="part"
    )
    engine = Engine(
        EngineConfig(
            pseudonym_key=config.pseudonym_key,
            redaction_key=config.redaction_key,
            models=models or detect.Models(),
            fact_cache=facts,
            timed=metrics.detected,
        )
    )
    spans = _spans(config)
    async with KafkaBroker(broker_config) as broker, TextReaders() as text_readers:
        running = Worker(
            config,
            broker=broker,
            engine=engine,
            metrics=metrics,
            open_table=lambda partition: open_table(config.state_dir, partition),
            text_readers=text_readers,
            spans=spans,
        )
        running.open_signed_sets = lambda: open_signed_sets(config.state_dir)
        keys = None
        if policy_keys is not None:
            keys = KeyWatch(policy_keys, config.policy_keys, running.believe)
        health = HealthServer(
            metrics,
            live=lambda: None,
            ready=lambda: _why_not(running),
            notes=lambda: _notes(running, keys),
        )
        if metrics_port is not None:
            try:
                await health.start(metrics_host, metrics_port)
            except OSError as error:
                raise UnavailableError(
                    f"port {metrics_port} on {metrics_host} cannot be used: {error.strerror}",
                    help="give another one with --metrics-port",
                ) from error
        detect.warm(vocabularies.wanted([config.state_dir]))
        detect.pricing.warm()
        with _led_by_signals(running, keys):
            beside = [
                asyncio.create_task(_tell(parent, running, metrics)),
                asyncio.create_task(vocabularies.remembering(config.state_dir)),
            ]
            if keys is not None:
                beside.append(asyncio.create_task(keys.run()))
            try:
                await running.run()
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
                await health.stop()
                if spans is not None:
                    await asyncio.to_thread(spans.stop)


def _spans(config: WorkerConfig) -> Spans | None:
    """Traces, where the environment names a collector. Raises ConfigError, without the extra."""
    if not Settings.load().wants_tracing:
        return None
    from enforcer import tracing  # noqa: PLC0415 — as above

    return tracing.started(config.instance_id, group=config.group_id)


async def _tell(parent: ChildEnd | None, running: Worker, metrics: Metrics) -> None:
    """Answer what a parent asks."""
    if parent is None:
        return
    import orjson  # noqa: PLC0415 — only where there is a parent

    answers = {"ready": lambda: orjson.dumps(running.describe()), "metrics": metrics.exposition}
    await parent.serve(answers, parent_gone=running.stop)


def _why_not(running: Worker) -> str | None:
    """For /ready: None when every partition decides, else what is missing."""
    if running.is_ready:
        return None
    import orjson  # noqa: PLC0415 — only for those who are not ready

    return orjson.dumps(running.describe()).decode()


def _notes(running: Worker, keys: KeyWatch | None) -> list[str]:
    """What a ready worker says besides."""
    notes = [f"policy refused: {each}" for each in running.refused_policies.values()]
    if keys is not None and keys.problem:
        notes.append(f"policy keys as before: {keys.problem}")
    return notes


@contextlib.contextmanager
def _led_by_signals(running: Worker, keys: KeyWatch | None):  # type: ignore[no-untyped-def]  # noqa: ANN202 — a context manager
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in signals[:2]:
        loop.add_signal_handler(number, running.stop)
    # Without keys there is nothing to read again, and no reason to end.
    loop.add_signal_handler(signal.SIGHUP, keys.look_now if keys is not None else int)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def models_of(entities: str | None, classifier: str | None, *, deadline_ms: int) -> Models:
    """The models that options name, each bounded in time. Raises ConfigError."""
    from enforcer import detect  # noqa: PLC0415 — as above

    if entities is None and classifier is None:
        return detect.Models()
    from enforcer.models import Guarded  # noqa: PLC0415 — only who uses models needs it

    def guarded(name: str, path: str | None) -> Any:
        work = None if path is None else _function(path)
        return None if work is None else Guarded(name, work, deadline_ms=deadline_ms)

    return detect.Models(guarded("entities", entities), guarded("classifier", classifier))


def _function(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"`{path}` cannot be imported: {error}",
            help="write MODULE:FUNCTION, of an installed module",
        ) from error
    if not callable(found):
        raise ConfigError(f"`{path}` is no function", help="write MODULE:FUNCTION")
    return found
