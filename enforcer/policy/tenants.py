"""The checker of Tenant documents: each fault is a finding at its place."""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING, Any

from enforcer.detect.pii import KINDS as PII_KINDS
from enforcer.policy import documents as models
from enforcer.policy.amounts import AmountError, duration_us, usd_nano
from enforcer.policy.checker import check_id, child, resolve_path
from enforcer.policy.conditions import to_plain
from enforcer.policy.edits import fits
from enforcer.policy.fields import Origin
from enforcer.policy.settings import TenantSettings

if TYPE_CHECKING:
    from enforcer.policy.findings import Findings
    from enforcer.policy.source import Node


def check_tenant(document: models.Tenant, node: Node, findings: Findings) -> TenantSettings:
    """The settings of a tenant. Meaningless where *findings* has errors afterwards."""
    return _TenantCheck(document, node, findings).settings()


class _TenantCheck:
    def __init__(self, document: models.Tenant, node: Node, findings: Findings) -> None:
        self._document = document
        self._node = child(node, "spec")
        self._findings = findings
        check_id(document.metadata.id, child(node, "metadata", "id").span, findings)

    def settings(self) -> TenantSettings:
        spec = self._document.spec
        self._check_account(spec.account)
        self._check_time_zone(spec.time_zone)
        for alias, target in spec.models.items():
            self._check_model(alias, target)
        return TenantSettings(
            tenant=self._document.metadata.id,
            default_verdict=spec.default_verdict,
            account_by=spec.account,
            time_zone=spec.time_zone,
            required=tuple(self._path(text, "required") for text in spec.required),
            defaults={
                self._default(path, value): to_plain(value) for path, value in spec.defaults.items()
            },
            models=dict(spec.models),
            unknown_model_ceiling_usd_per_mtok_nano=self._ceiling(spec.unknown_model),
            assumed_output_tokens=spec.assumed_output_tokens,
            reservation_ttl_us=self._duration(spec.reservation_ttl, "reservation_ttl"),
            on_expiry=spec.on_expiry,
            dedup_window_us=self._duration(spec.dedup_window, "dedup_window"),
            on_timeout=spec.on_timeout,
            on_stale_policies=spec.on_stale_policies,
            principals=spec.principals,
            pii_kinds=self._pii_kinds(spec.pii_kinds),
        )

    def _pii_kinds(self, kinds: tuple[str, ...]) -> frozenset[str]:
        for kind in kinds:
            if kind not in PII_KINDS:
                help_line = f"one of {', '.join(PII_KINDS)}"
                self._error(
                    "ENF0505", f"there is no kind `{kind}`", "pii_kinds", help_line=help_line
                )
        return frozenset(kinds)

    def _error(self, code: str, message: str, key: str, *, help_line: str) -> None:
        self._findings.error(code, message, child(self._node, key).span, help=help_line)

    def _check_account(self, account: tuple[str, ...]) -> None:
        if account not in {("tenant",), ("tenant", "team.id")}:
            self._error(
                "ENF0203",
                "`account` is [tenant] or [tenant, team.id]",
                "account",
                help_line="one worker owns an account; its budgets are exact",
            )

    def _check_time_zone(self, name: str) -> None:
        try:
            zoneinfo.ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            self._error(
                "ENF0211",
                f"there is no time zone `{name}`",
                "time_zone",
                help_line="a name of the IANA database, such as `Europe/Berlin`",
            )

    def _check_model(self, alias: str, target: str) -> None:
        provider, _, model = target.partition("/")
        if not provider or not model:
            span = child(self._node, "models", alias).span
            self._findings.error(
                "ENF0203",
                f"the alias `{alias}` names no model",
                span,
                help="write `provider/model`, such as `openai/gpt-4o-mini`",
            )

    def _path(self, text: str, key: str) -> str:
        field = resolve_path(text, child(self._node, key).span, self._findings)
        if field is not None and field.origin not in {Origin.RECORD, Origin.ATTRIBUTES}:
            self._error(
                "ENF0403",
                f"`{text}` is no field of a request",
                key,
                help_line="name a field as sent",
            )
        return str(field)

    def _default(self, text: str, value: Any) -> str:
        span = child(self._node, "defaults", text).span
        field = resolve_path(text, span, self._findings)
        if field is None:
            return text
        settable = field.origin is Origin.ATTRIBUTES or (
            field.origin is Origin.RECORD and field.type.optional
        )
        if not settable:
            self._findings.error(
                "ENF0502",
                f"`{text}` cannot have a default",
                span,
                help="optional fields and attributes can",
            )
        elif value is None or not fits(field.type, value):
            self._findings.error(
                "ENF0503", f"the default of `{text}` is no {field.type}", span, help="correct it"
            )
        return str(field)

    def _ceiling(self, unknown: models.Ceiling | str) -> int | None:
        if not isinstance(unknown, models.Ceiling):
            return None
        try:
            ceiling = usd_nano(unknown.ceiling_usd_per_mtok)
        except AmountError as error:
            self._error("ENF0208", str(error), "unknown_model", help_line="USD per million tokens")
            return None
        if not ceiling:
            # Free is what a price list says is free: an unknown price must not switch budgets off.
            message = "the ceiling of unknown models is 0, which no budget would ever count"
            self._error("ENF0208", message, "unknown_model", help_line="give a ceiling, or `deny`")
        return ceiling

    def _duration(self, text: str, key: str) -> int:
        try:
            return duration_us(text)
        except AmountError as error:
            self._error("ENF0210", f"`{key}`: {error}", key, help_line="for example `15 min`")
            return 0
