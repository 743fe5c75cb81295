"""What the demo says at its end: one JSON document, or a table and what to look at next."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from enforcer.cli import demo_ledger
from enforcer.cli.demo_view import bar, budget_label, glyphs_for, milliseconds, usd

if TYPE_CHECKING:
    from enforcer.cli.demo_session import Result

_BUDGETS: Final = 10


def as_json(result: Result) -> dict[str, Any]:
    """The fields of WIRE.md, and some more."""
    found, checked, figures = result.found, result.reconciliation, result.figures
    p50, p99 = figures.overall_ms()
    return {
        "requests": len(found.requests),
        "decisions": len(found.decided),
        "verdicts": demo_ledger.verdict_counts(found),
        "p50_ms": _rounded(p50),
        "p99_ms": _rounded(p99),
        "bypass_rate": round(figures.bypass_rate, 6),
        "audit_records": found.audit_records,
        "chain_verified": not checked.broken,
        "lost": checked.lost,
        "duplicated": checked.duplicated,
        "budgets": [demo_ledger.budget_json(b) for b in demo_ledger.fullest(found.budgets)],
        "budgets_total": len(found.budgets),
        "contradicted": checked.contradicted,
        "unknown": checked.unknown,
        "unsent": checked.unsent,
        "usage_reports": found.usage_reports,
        "settlements": found.kinds["settlement"],
        "overruns": found.notes["overrun"],
        "policies": dict(found.policies.most_common()),
        "seconds": round(result.seconds, 3),
        "prefix": result.plan.prefix,
        "bootstrap": result.plan.bootstrap,
    }


def as_table(result: Result) -> list[str]:
    """The lines of the closing table."""
    plain = as_json(result)
    per_s = plain["requests"] / result.seconds if result.seconds > 0 else 0.0
    verdicts = plain["verdicts"]
    total = sum(verdicts.values()) or 1
    glyphs = glyphs_for(sys.stdout.encoding or "")
    lines = [
        "",
        f"  requests    {plain['requests']:>8,}    in {result.seconds:.1f} s, {per_s:,.0f} a second",
        f"  decisions   {plain['decisions']:>8,}    each exactly once in the ledger"
        if not (plain["lost"] or plain["duplicated"])
        else f"  decisions   {plain['decisions']:>8,}    {plain['lost']} lost, "
        f"{plain['duplicated']} duplicated",
    ]
    lines += [
        f"    {verdict:<8}  {count:>8,}    {bar(count / total, 0, 30, glyphs)} {count / total:.1%}"
        for verdict, count in verdicts.items()
    ]
    chain = "chain verified" if plain["chain_verified"] else "CHAIN BROKEN"
    figures = result.figures
    p50, p99 = figures.overall_ms()
    lines += [
        f"  audit       {plain['audit_records']:>8,}    records, {chain}",
        f"  usage       {plain['usage_reports']:>8,}    reports, {plain['settlements']:,} settled",
        f"  latency     p50 {milliseconds(p50)}, p99 {milliseconds(p99)}, from call to verdict",
        f"  bypass rate {figures.bypass_rate:>8.1%}    calls that ran or ended without a verdict",
        "",
        f"  {'budget':<32}{'spent':>10}{'reserved':>10}{'limit':>10}{'used':>8}",
    ]
    shown = sorted(demo_ledger.fullest(result.found.budgets, 3), key=lambda b: -b.share)
    lines += [
        f"  {budget_label(b.name.id, b.name.account, b.name.key)[:31]:<32}"
        f"{usd(b.spent_usd_nano):>10}{usd(b.reserved_usd_nano):>10}{usd(b.limit_usd_nano):>10}"
        f"{b.share:>8.1%}"
        for b in shown[:_BUDGETS]
    ]
    if overruns := plain["overruns"]:
        lines += [
            "",
            f"  {overruns:,} calls used more than was reserved for them; the next ones paid.",
        ]
    return lines


def next_steps(result: Result, *, runs: bool) -> list[str]:
    """Commands to look further; *runs*: the local stack stays up."""
    prefix = result.plan.prefix
    commands = [
        f"enforcer tail decisions --from-beginning --no-follow --filter verdict=deny --prefix {prefix}",
        f"enforcer audit verify --prefix {prefix}",
        f"enforcer policy list --prefix {prefix}",
    ]
    return [
        "look further:",
        *(f"  {command}" for command in ([] if runs else ["enforcer up"]) + commands),
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
