"""The broker's process: its directory formatted, the process launched and watched until it is ready."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from enforcer.errors import UnavailableError
from enforcer.local import files, ports, probe, processes, properties
from enforcer.local.jars import KAFKA_VERSION
from enforcer.local.jvm import Jvm, environment
from enforcer.local.record import Record

if TYPE_CHECKING:
    from pathlib import Path

_READY_TIMEOUT_S = 60.0
_FORMAT_TIMEOUT_S = 60.0
_POLL_S = 0.03
_PORT_TRIES = 4
_TAKEN = ("failed to bind", "Address already in use")
_FULL = ("No space left on device", "Disk quota exceeded")


@dataclass(frozen=True, slots=True)
class Launch:
    """All that one start of the broker needs."""

    jvm: Jvm
    directory: Path
    record_file: Path
    use_cache: bool
    training_file: Path | None
    fixed_port: int | None
    preferred: tuple[int, ...]
    extras: properties.Extras

    @property
    def properties_file(self) -> Path:
        """Its path on the command line is what marks the process as ours."""
        return self.directory / "server.properties"

    @property
    def log(self) -> Path:
        """Standard output and error of the process."""
        return self.directory / "broker.log"


class _DiedError(Exception):
    """The process ended before it was ready."""

    def __init__(self, status: int, log_text: str) -> None:
        super().__init__(status)
        self.status = status
        self.log_text = log_text


def format_directory(jvm: Jvm, data: Path, *, templates: Path, use_cache: bool) -> None:
    """
    Make *data* a formatted log directory with a cluster id of its own.

    The StorageTool runs once a machine, for a JVM takes a second; later directories are copies of that
    one, with new ids: a worker's table must not take two clusters for one.

    Args:
        jvm: To run the StorageTool.
        data: Must not exist.
        templates: Where the formatted directory is kept.
        use_cache: Start the JVM with its cache.

    Raises: UnavailableError, if the StorageTool fails; OSError.
    """
    template = templates / f"formatted-{KAFKA_VERSION}"
    if not (template / "meta.properties").exists():
        _make_template(jvm, template, use_cache=use_cache)
    temporary = data.with_name(f".{data.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        shutil.copytree(template, temporary)
        meta = temporary / "meta.properties"
        text = meta.read_text(encoding="ascii")
        for field in ("cluster.id", "directory.id"):
            text = re.sub(rf"(?m)^{re.escape(field)}=.*$", f"{field}={_new_id()}", text)
        files.write_whole(meta, text)
        temporary.replace(data)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _make_template(jvm: Jvm, template: Path, *, use_cache: bool) -> None:
    temporary = template.with_name(f".{template.name}.{os.getpid()}")
    settings = temporary.with_suffix(".properties")
    try:
        settings.write_text(properties.text(data=temporary, port=9092, controller_port=9093))
        command = jvm.command(
            "kafka.tools.StorageTool",
            *("format", "-t", _new_id(), "-c", str(settings)),
            use_cache=use_cache,
        )
        done = subprocess.run(  # noqa: S603 — our own command line
            command,
            capture_output=True,
            text=True,
            env=environment(),
            timeout=_FORMAT_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise UnavailableError(
                f"formatting the broker's directory failed: {telling_line(done.stderr)}",
                help=f"check that {template.parent} can be written and has space left",
                code="format_failed",
            )
        if not (template / "meta.properties").exists():
            shutil.rmtree(template, ignore_errors=True)
            temporary.replace(template)
    finally:
        settings.unlink(missing_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)


def _new_id() -> str:
    """An id as Kafka writes it: 16 random bytes, base64url without padding, no hyphen in front."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith(
        "-"
    ):
        pass
    return text


def launch(plan: Launch) -> Record:
    """
    Start the broker and return when it has acknowledged a produce.

    A port that was taken between choice and bind is chosen anew; a JVM that dies with its cache is
    started once more without, and the cache deleted.

    Raises: UnavailableError; then no process is left.
    """
    for _ in range(_PORT_TRIES):
        try:
            return _launch_once(plan)
        except _DiedError as died:
            if any(text in died.log_text for text in _TAKEN):
                if plan.fixed_port is not None:
                    raise ports.taken(plan.fixed_port) from None
                plan = replace(plan, preferred=())
            elif plan.use_cache:
                plan.jvm.drop_cache()
                plan = replace(plan, use_cache=False)
            else:
                raise _explain_death(plan, died) from None
    raise UnavailableError(
        f"every port that was chosen on {ports.HOST} was taken at once, {_PORT_TRIES} times",
        help="try again, or name a port: enforcer up --port N",
        code="no_port",
    )


def _launch_once(plan: Launch) -> Record:
    port, controller_port = _choose(plan)
    text = properties.text(
        data=plan.directory / "data",
        port=port,
        controller_port=controller_port,
        extras=plan.extras,
    )
    files.write_whole(plan.properties_file, text)
    if plan.log.exists():
        plan.log.replace(plan.log.with_name("broker.log.1"))
    command = plan.jvm.command(
        "kafka.Kafka",
        str(plan.properties_file),
        use_cache=plan.use_cache,
        record=plan.training_file,
    )
    process: processes.Detached | None = None
    try:
        with plan.log.open("wb") as log:
            # A session of its own: Ctrl-C goes to the worker, which drains before the broker stops.
            process = processes.Detached(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=plan.directory,
                env=environment(),
            )
        starting = Record(
            pid=process.pid,
            start_mark=processes.start_mark(process.pid),
            started_s=time.time(),
            port=port,
            controller_port=controller_port,
            jit=plan.jvm.jit,
            kafka=KAFKA_VERSION,
            training=plan.training_file is not None,
        )
        starting.write(plan.record_file)
        _await_ready(plan, process, port)
        ready = replace(starting, ready=True)
        ready.write(plan.record_file)
    except BaseException:
        if process is not None:
            process.kill()
            process.wait()
        # A signal between the fork and the assignment leaves a child that has no name here.
        for pid in processes.find(str(plan.properties_file)):
            processes.stop(pid, marker=str(plan.properties_file), grace_s=0.0)
        raise
    processes.keep(process)
    return ready


def _choose(plan: Launch) -> tuple[int, int]:
    if plan.fixed_port is None:
        port, controller_port = ports.choose(2, preferred=plan.preferred)
        return port, controller_port
    other = next(port for port in ports.choose(2) if port != plan.fixed_port)
    return plan.fixed_port, other


def _await_ready(plan: Launch, process: processes.Detached, port: int) -> None:
    deadline_s = time.monotonic() + _READY_TIMEOUT_S
    while True:
        status = process.poll()
        if status is not None:
            raise _DiedError(status, _log_text(plan.log))
        try:
            probe.prove_ready(port)
        except (OSError, probe.NotReadyError):
            if time.monotonic() > deadline_s:
                raise UnavailableError(
                    f"the broker was not ready after {_READY_TIMEOUT_S:.0f} s: "
                    f"{telling_line(_log_text(plan.log)) or 'it has logged nothing'}",
                    help=f"see {plan.log}; a very busy machine may need a second try",
                    code="broker_slow",
                ) from None
            time.sleep(_POLL_S)
        else:
            return


def _explain_death(plan: Launch, died: _DiedError) -> UnavailableError:
    if any(text in died.log_text for text in _FULL):
        return UnavailableError(
            f"no space left on the disk of {plan.directory}",
            help="free some space, or set ENFORCER_HOME to another disk",
            code="disk_full",
        )
    line = telling_line(died.log_text) or "it has logged nothing"
    return UnavailableError(
        f"the broker ended while it started (status {died.status}): {line}",
        help=f"see {plan.log}; if its data is damaged, delete {plan.directory / 'data'}",
        code="broker_died",
    )


def _log_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[-100_000:]
    except OSError:
        return ""


def telling_line(text: str) -> str:
    """The last line of a log that says something: no frame of a stack trace, at most 300 characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("at ", "... "))]
    errors = [line for line in telling if "Exception" in line or "ERROR" in line or "Error" in line]
    chosen = (errors or telling or [""])[-1]
    return chosen[:300]
