"""Keys of policies: ``policy keygen`` and ``policy sign``, and the options that name a key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from enforcer import config
from enforcer.cli.broker_options import BootstrapOption, KafkaConfigOption, PrefixOption, resolve
from enforcer.cli.output import OutputFormat, OutputOption, emit, note, write
from enforcer.cli.policy_wait import TimeoutOption, WaitOption, show_in_force
from enforcer.config import Settings
from enforcer.errors import ConfigError, ConflictError

if TYPE_CHECKING:
    from enforcer.control.published import Signing
    from enforcer.policy.signing import Verifier

SignKeyOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--sign-key",
        metavar="FILE",
        help="Private key to sign the change with; else ENFORCER_SIGN_KEY. For its owner's eyes: 0600.",
        dir_okay=False,
    ),
]
PolicyKeysOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--policy-keys",
        metavar="PATH",
        help="Public keys of those who may change policies, a file or a directory of *.pub; else ENFORCER_POLICY_KEYS. "
        "What none of them has signed is refused.",
    ),
]


def public_keys(place: Path | None, settings: Settings | None = None) -> tuple[bytes, ...]:
    """The keys that --policy-keys or the environment names. Raises ConfigError."""
    return config.policy_keys(place or (settings or Settings.load()).policy_keys)


def verifier_of(place: Path | None, prefix: str) -> Verifier | None:
    """Who believes those keys; None without any. Raises ConfigError."""
    pems = public_keys(place)
    if not pems:
        return None
    from enforcer.policy.signing import Verifier  # noqa: PLC0415 — only who has keys needs it

    return Verifier(pems, prefix=prefix)


def signing_of(sign_key: Path | None, policy_keys: Path | None, prefix: str) -> Signing | None:
    """How a change is signed; None without a key. Raises ConfigError."""
    file = sign_key or Settings.load().sign_key
    if file is None:
        return None
    from enforcer.control.published import Signing  # noqa: PLC0415 — as above

    return Signing.of(config.signing_key(file), public_keys(policy_keys), prefix=prefix)


def keygen(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Private key; the public one is FILE.pub.")
    ],
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    Make a pair of keys (Ed25519): the private one to sign policies with, the public one for every worker.

    Neither file may be there already. PEM, as openssl has it.
    """
    from enforcer.policy.signing import make_key  # noqa: PLC0415 — as above

    private, public, key_id = make_key()
    public_file = file.with_name(file.name + ".pub")
    for place, text, mode in ((file, private, 0o600), (public_file, public, 0o644)):
        try:
            number = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError as error:
            raise ConflictError(
                f"{place} is there already", help="name another file: a key is never overwritten"
            ) from error
        except OSError as error:
            raise ConfigError(f"{place} cannot be written: {error.strerror}") from error
        with os.fdopen(number, "wb") as opened:
            opened.write(text)
    if output is OutputFormat.TABLE:
        write(key_id)
        note(f"sign with --sign-key {file}; give workers --policy-keys {public_file}")
    else:
        emit({"key_id": key_id, "private": str(file), "public": str(public_file)}, output)


def sign(
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Also what nobody known has signed: look at it before."),
    ] = False,
    sign_key: SignKeyOption = None,
    policy_keys: PolicyKeysOption = None,
    wait: WaitOption = False,
    timeout_s: TimeoutOption = 30.0,
    bootstrap: BootstrapOption = None,
    prefix: PrefixOption = None,
    kafka_config: KafkaConfigOption = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """
    Sign everything in force once more, as it is: to begin with signatures (--adopt), or after a change of keys.

    --policy-keys are the keys believed until now.
    """
    target = resolve(bootstrap, prefix, kafka_config=kafka_config)
    signing = signing_of(sign_key, policy_keys, target.prefix)
    if signing is None:
        raise ConfigError(
            "there is no key to sign with",
            help="give --sign-key FILE; make one: enforcer policy keygen FILE",
            code="usage",
        )
    from enforcer.broker import KafkaBroker, load  # noqa: PLC0415 — as above
    from enforcer.control import policies  # noqa: PLC0415 — as above

    async def run() -> None:
        known = load(bootstrap=target.bootstrap, prefix=target.prefix, file=target.kafka_config)
        async with KafkaBroker(known) as broker:
            changes = await policies.sign(
                broker, target.prefix, signing, adopt=adopt, author=author()
            )
            await show_in_force(
                broker,
                target.prefix,
                changes,
                {change.scope for change in changes},
                output=output,
                timeout_s=timeout_s if wait else None,
            )

    import asyncio  # noqa: PLC0415 — 40 ms that `--help` need not pay

    asyncio.run(run())


def author() -> str:
    """Who does it, for the record."""
    import getpass  # noqa: PLC0415 — only who writes needs it

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
