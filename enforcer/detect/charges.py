"""
What a call did cost: its usage at the prices of its moment; and what others would have cost.

Own prices and contracts go before the price list: an installation that pays otherwise says so once,
in a file of rows. A model without a price is an explicit unknown, never zero.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from genai_prices import data_snapshot

from enforcer.detect import pricing
from enforcer.detect.pricing import Rates
from enforcer.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from enforcer.detect.usage import NormalUsage

METHOD_LIST = "list"
METHOD_OWN = "own"
METHOD_UNKNOWN = "unknown"
_NANO = 1_000_000_000
_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Charge:
    """
    A cost and how it is known.

    Attributes:
        usd_nano: Nano-USD, rounded up once; None where no price is known.
        method: ``list`` (the price list), ``own`` (a configured price or contract) or ``unknown``.
    """

    usd_nano: int | None
    method: str

    @property
    def usd(self) -> float | None:
        """The same in USD."""
        return None if self.usd_nano is None else self.usd_nano / _NANO


@dataclass(frozen=True, slots=True)
class Alternative:
    """A cheaper model: who offers it, what the same usage would have cost there, and the saving."""

    provider: str
    model: str
    usd_nano: int
    saved_usd_nano: int


class OwnPrices:
    """
    Prices of this installation, before those of the list.

    Args:
        rows: ``{provider, model, input_usd_per_mtok, output_usd_per_mtok, cached_usd_per_mtok?,
            cache_write_usd_per_mtok?}``, or ``{provider, discount_percent}`` for a contract over the
            list's prices; ``model`` may end in ``*``, and is all of them where it is left out.

    Raises: ConfigError, if a row is none of these.
    """

    __slots__ = ("_contracts", "_rates")

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._rates: list[tuple[str, str, Rates]] = []
        self._contracts: list[tuple[str, str, Decimal]] = []
        for row in rows:
            provider, model = row.get("provider"), row.get("model", "*")
            if not isinstance(provider, str) or not isinstance(model, str):
                raise _bad_row("a row names a provider")
            if "discount_percent" in row:
                percent = _decimal(row, "discount_percent")
                if not 0 <= percent <= _PERCENT:
                    raise _bad_row("a discount is 0 to 100 percent")
                self._contracts.append((provider.lower(), model.lower(), percent))
            else:
                self._rates.append((provider.lower(), model.lower(), _rates(row)))

    def rates(self, provider: str, model: str) -> Rates | None:
        """The configured rates, or None."""
        for row_provider, row_model, found in self._rates:
            if row_provider == provider.lower() and _covers(row_model, model.lower()):
                return found
        return None

    def discounted(self, provider: str, model: str, usd_nano: int) -> tuple[int, bool]:
        """A list price less the contract's discount, rounded up, and whether there is a contract."""
        for row_provider, row_model, percent in self._contracts:
            if row_provider == provider.lower() and _covers(row_model, model.lower()):
                left = usd_nano * (_PERCENT - percent) / _PERCENT
                return int(left.to_integral_value(rounding="ROUND_CEILING")), True
        return usd_nano, False


NO_OWN_PRICES = OwnPrices()


def charge(
    provider: str,
    model: str,
    usage: NormalUsage,
    *,
    at: datetime,
    service_tier: str | None = None,
    own: OwnPrices = NO_OWN_PRICES,
) -> Charge:
    """
    What a usage cost at a moment.

    Args:
        at: With its time zone; prices that change with the hour are those of that hour.
        own: Prices and contracts of the installation.
    """
    rates = own.rates(provider, model)
    if rates is not None:
        return Charge(rates.cost_usd_nano(**asdict(usage)), METHOD_OWN)
    rates = pricing.resolve_at(provider, model, service_tier, at)
    if rates is None:
        return Charge(None, METHOD_UNKNOWN)
    usd_nano, by_contract = own.discounted(provider, model, rates.cost_usd_nano(**asdict(usage)))
    return Charge(usd_nano, METHOD_OWN if by_contract else METHOD_LIST)


def cheaper(
    provider: str, model: str, usage: NormalUsage, *, at: datetime, limit: int = 10
) -> list[Alternative]:
    """
    Models of the same provider that would have cost less for the same usage, cheapest first.

    A model would do if its stated context holds the input and it is priced for input and output; a
    cached part counts as cached there too. Tokens differ between vocabularies: compare with care.
    """
    paid = charge(provider, model, usage, at=at).usd_nano
    if paid is None:
        return []
    found: list[Alternative] = []
    for name, context_tokens in _models(provider):
        if context_tokens is not None and context_tokens < usage.input_tokens + usage.output_tokens:
            continue
        rates = pricing.resolve_at(provider, name, None, at)
        if rates is None or rates.input <= 0 or rates.output <= 0:
            continue
        cost = rates.cost_usd_nano(**asdict(usage))
        if cost < paid:
            found.append(Alternative(provider, name, cost, paid - cost))
    return sorted(found, key=lambda row: (row.usd_nano, row.model))[:limit]


def _models(provider: str) -> list[tuple[str, int | None]]:
    wanted = pricing.provider_id(provider)
    return [
        (model.id, model.context_window)
        for each in data_snapshot.get_snapshot().providers
        if each.id == wanted
        for model in each.models
        if not model.deprecated
    ]


def _covers(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _rates(row: Mapping[str, Any]) -> Rates:
    inputs = _nano(row, "input_usd_per_mtok")
    return Rates(
        inputs,
        _nano(row, "cached_usd_per_mtok", inputs),
        _nano(row, "cache_write_usd_per_mtok", inputs),
        _nano(row, "output_usd_per_mtok"),
    )


def _nano(row: Mapping[str, Any], name: str, otherwise: int | None = None) -> int:
    if name not in row and otherwise is not None:
        return otherwise
    amount = _decimal(row, name) * _NANO
    return int(amount.to_integral_value(rounding="ROUND_CEILING"))


def _decimal(row: Mapping[str, Any], name: str) -> Decimal:
    value = row.get(name)
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            amount = Decimal(-1)
        if amount.is_finite() and amount >= 0:
            return amount
    raise _bad_row(f"`{name}` is a number of 0 or more")


def _bad_row(why: str) -> ConfigError:
    return ConfigError(
        f"own prices: {why}",
        help="a row is {provider, model, input_usd_per_mtok, output_usd_per_mtok} or {provider, discount_percent}",
    )
