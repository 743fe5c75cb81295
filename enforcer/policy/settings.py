"""A tenant's settings, ready for the engine: paths resolved, durations and money as integers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """How a tenant's requests are taken. The defaults are those of a tenant without a document."""

    tenant: str
    default_verdict: Literal["allow", "deny"] = "allow"
    account_by: tuple[str, ...] = ("tenant",)
    time_zone: str = "UTC"
    required: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    # Alias to "provider/model".
    models: Mapping[str, str] = field(default_factory=dict)
    # Nano-USD per million tokens of a model without a price; None: such a call is denied.
    unknown_model_ceiling_usd_per_mtok_nano: int | None = None
    assumed_output_tokens: int = 4096
    reservation_ttl_us: int = 15 * MINUTE_US
    on_expiry: Literal["charge", "release"] = "charge"
    dedup_window_us: int = 15 * MINUTE_US
    on_timeout: Literal["deny", "allow"] = "deny"
    on_stale_policies: Literal["deny", "allow"] = "deny"
    principals: tuple[str, ...] = ()
    pii_kinds: frozenset[str] = frozenset()  # Beside those that are on by default.
