"""The trace of a decision: what was looked at, what each part came to, and why the rest was passed over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from enforcer.cli.output import write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from enforcer import policy
    from enforcer.policy.tracing import (
        PolicyTrace,
        RuleTrace,
        TermTrace,
        TracedPolicy,
        TracedProgram,
    )


class Watch:
    """Makes the programs that remember what they were asked, and traces the decision just made."""

    def __init__(self, documents: tuple[policy.Document, ...]) -> None:
        self._documents = documents
        self._programs: dict[str, tuple[TracedProgram, tuple[TracedPolicy, ...]]] = {}
        self._tenant = ""
        self._traces: list[PolicyTrace] = []
        self._listing = Listing()

    def compose(
        self,
        global_: policy.ScopeProgram | None,
        own: policy.ScopeProgram | None,
        tenant: str,
        *,
        stops: policy.ScopeProgram | None = None,
    ) -> TracedProgram:
        """The program of a tenant, as ``policy.compile_tenant`` composes it."""
        from enforcer.policy.tracing import TracedProgram, traced_policies  # noqa: PLC0415 — only who traces needs it

        program = TracedProgram(global_, own, tenant, stops=stops)
        self._programs[tenant] = (program, traced_policies(self._documents, tenant))
        return program

    def asked(self, tenant: str) -> None:
        """Whose program is about to decide."""
        self._tenant = tenant

    def begin(self) -> None:
        """Before a request."""
        self._tenant = ""
        for program, _ in self._programs.values():
            program.forget()

    def end(self, decision: dict[str, Any]) -> dict[str, Any]:
        """The decision with its trace; an empty one where it was denied before any rule was looked at."""
        from enforcer.policy.tracing import trace_policies  # noqa: PLC0415 — as above

        self._traces = []
        program, policies = self._programs.get(self._tenant, (None, ()))
        if program is not None and program.asked is not None:
            self._traces = trace_policies(
                policies, program.asked, program.indexed, exempt=program.exempt
            )
        return {**decision, "trace": as_json(self._traces)}

    def show(self, decision: dict[str, Any]) -> None:
        """Print the decision that ``end`` has just answered."""
        self._listing.show(decision, self._traces)


def as_json(traces: list[PolicyTrace]) -> list[dict[str, Any]]:
    """A trace as it stands in a decision's JSON."""
    return [
        {
            "policy": each.policy,
            "scope": each.scope,
            "skipped": each.skipped or None,
            "match": _term(each.match),
            "unless": _term(each.unless),
            "limits": [
                {"kind": limit.kind, "limit": limit.id, "why": limit.why or None, **limit.amounts}
                for limit in each.limits
            ],
            "rules": [
                {
                    "rule": rule.rule,
                    "verdict": rule.verdict,
                    "status": rule.status,
                    "why": rule.why or None,
                    "condition": _term(rule.condition),
                    "exceptions": [
                        {"exception": e.id, "status": e.status, "condition": _term(e.condition)}
                        for e in rule.exceptions
                    ],
                }
                for rule in each.rules
            ],
        }
        for each in traces
    ]


def _term(term: TermTrace | None) -> dict[str, Any] | None:
    if term is None:
        return None
    found: dict[str, Any] = {
        "text": term.text,
        "file": term.span.file,
        "line": term.span.line,
        "column": term.span.column,
        "value": term.value,
    }
    if term.value == "value":
        found["result"] = term.result
    if term.reads:
        found["reads"] = term.reads
    if term.terms:
        found["terms"] = [_term(each) for each in term.terms]
    return found


class Listing:
    """Annotated sources: each line that was looked at, and below it what its parts came to."""

    def __init__(self, sources: Mapping[str, str] | None = None) -> None:
        """*sources* are texts by the names that places have; others are files."""
        self._files = {name: text.splitlines() for name, text in (sources or {}).items()}

    def show(self, decision: dict[str, Any], traces: list[PolicyTrace]) -> None:
        """Print the trace of one decision."""
        codes = ", ".join(reason["code"] for reason in decision["reasons"])
        name = decision.get("request_id") or f"line {decision.get('line')}"
        write(f"{name}: {decision['verdict']}{f' ({codes})' if codes else ''}")
        self.policies(traces)

    def policies(self, traces: list[PolicyTrace]) -> None:
        """Print what each policy looked at."""
        for trace in traces:
            write(
                f"  policy {trace.policy}{f': skipped, {trace.skipped}' if trace.skipped else ''}"
            )
            for part, term in (("match", trace.match), ("unless", trace.unless)):
                if term is not None:
                    write(f"    {part}: {term.value}")
                    self._annotate(term)
            for rule in trace.rules:
                self._rule(rule)
            for limit in trace.limits:
                told = ", ".join(f"{name} {amount:g}" for name, amount in limit.amounts.items())
                write(f"    {limit.kind} {limit.id}: {told or f'does not apply, {limit.why}'}")

    def _rule(self, rule: RuleTrace) -> None:
        why = f", {rule.why}" if rule.why else ""
        write(f"    rule {rule.rule} ({rule.verdict}): {rule.status}{why}")
        if rule.condition is not None:
            self._annotate(rule.condition)
        for each in rule.exceptions:
            write(f"      exception {each.id}: {each.status}")
            if each.condition is not None:
                self._annotate(each.condition)

    def _annotate(self, root: TermTrace) -> None:
        """The source lines of a condition, each with its parts under it."""
        parts = sorted(_flat(root), key=lambda each: (each.span.line, each.span.column))
        last = 0
        for part in parts:
            line = part.span.line
            if line != last:
                write(f"    {line:>5} | {self._line(part.span.file, line)}".rstrip())
                last = line
            pad = " " * max(part.span.column - 1, 0)
            write(f"          | {pad}^ {_told(part)}")

    def _line(self, file: str, number: int) -> str:
        if file not in self._files:
            path = Path(file)
            text = path.read_text(encoding="utf-8-sig") if path.is_file() else ""
            self._files[file] = text.splitlines()
        lines = self._files[file]
        return lines[number - 1] if 0 < number <= len(lines) else ""


def _flat(term: TermTrace) -> Iterator[TermTrace]:
    """Every part that says something: chains are told by their terms."""
    if term.text not in {"and", "or", "not"}:
        yield term
    for each in term.terms:
        yield from _flat(each)


def _told(part: TermTrace) -> str:
    value = repr(part.result) if part.value == "value" else part.value
    reads = ", ".join(f"{name} = {value!r}" for name, value in part.reads.items())
    return f"{value}: {part.text}{f'   ({reads})' if reads else ''}"
