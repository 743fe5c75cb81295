"""``cost``: what calls did cost, and what cheaper models would have."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from enforcer.cli.line_files import answer_lines, text_of
from enforcer.cli.output import OutputFormat, OutputOption
from enforcer.errors import ConfigError, NotFoundError, RequestError

if TYPE_CHECKING:
    from enforcer.detect.charges import OwnPrices

_NANO = 1_000_000_000


def cost(
    source: Annotated[
        Path,
        typer.Option(
            "--input", "-i", help="A call a line, as JSON; `-` is stdin.", allow_dash=True
        ),
    ],
    compare: Annotated[
        bool, typer.Option("--compare", help="List the provider's cheaper models that would do.")
    ] = False,
    prices: Annotated[
        Path | None, typer.Option("--prices", help="Own prices and contracts: a JSON list of rows.")
    ] = None,
    output: OutputOption = OutputFormat.JSONL,
) -> int:
    """
    Price each line: `{provider, model, usage, at}`, where usage is the provider's own block.

    The answer is `{cost_usd, method}`: `list`, `own`, or `unknown` with a cost of null. `at` is
    RFC 3339 and this moment where it is left out; `service_tier` is read where it is given.
    """
    from enforcer.detect.charges import OwnPrices  # noqa: PLC0415 — the price list takes its time

    own = OwnPrices(_price_rows(prices) if prices else ())
    now = datetime.now(UTC)
    return answer_lines(source, output, lambda row: _cost(row, own, now, compare=compare))


def _cost(row: dict[str, Any], own: OwnPrices, now: datetime, *, compare: bool) -> dict[str, Any]:
    from enforcer.detect import charges, usage  # noqa: PLC0415 — as above

    provider, model = text_of(row, "provider"), text_of(row, "model")
    block = row.get("usage")
    found = None
    if isinstance(block, dict) and not any(_is_bad_count(*item) for item in block.items()):
        found = usage.normal_usage(block)
    if found is None:
        raise RequestError(
            "`usage` is no usage block that is known", code="invalid_request", place="usage"
        )
    at = _moment(row.get("at"), now)
    tier = row.get("service_tier")
    if isinstance(block, dict) and tier is None:
        tier = block.get("service_tier")
    charge = charges.charge(
        provider,
        model,
        found,
        at=at,
        service_tier=tier if isinstance(tier, str) else None,
        own=own,
    )
    shown: dict[str, Any] = {"cost_usd": charge.usd, "method": charge.method}
    if compare:
        shown["cheaper"] = [
            {
                "provider": each.provider,
                "model": each.model,
                "cost_usd": each.usd_nano / _NANO,
                "saved_usd": each.saved_usd_nano / _NANO,
            }
            for each in charges.cheaper(provider, model, found, at=at)
        ]
    return shown


def _is_bad_count(name: object, value: object) -> bool:
    """Whether a count of tokens is none: it would be charged as 0."""
    if not str(name).lower().replace("_", "").endswith(("tokens", "tokencount")) or value is None:
        return False
    return not isinstance(value, int) or isinstance(value, bool) or value < 0


def _moment(value: object, now: datetime) -> datetime:
    if value is None:
        return now
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError):
            pass
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return at if at.tzinfo else at.replace(tzinfo=UTC)
    raise RequestError(
        "`at` is a time like 2026-11-23T12:00:00Z", code="invalid_request", place="at"
    )


def _price_rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_bytes())
    except OSError as error:
        raise NotFoundError(
            f"{path} cannot be read: {error.strerror}", help="give a JSON file of prices"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON", help="write a JSON list of rows") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{path} is no list of rows")
    return rows
