"""
What must be true of the topics after any run, computed anew from the inputs by a small model of its own.

It knows the rules of ``enforcement_world`` and nothing of ``enforcer.state``, ``engine`` or ``stream``: money is a
dict, a call is a dict, and the order of the two inputs is the one that the ledger's decisions name.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from enforcement_world import (
    ACCOUNT_LIMIT_USD,
    BREAKS,
    CAP,
    CAPPED,
    KILLS,
    NANO_PER_TOKEN,
    PROJECT_LIMIT_USD,
    TENANT,
    read,
    word,
)

from enforcer import events
from enforcer.audit.verifier import START, verify
from enforcer.config import data
from enforcer.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enforcer.broker.ports import Broker, Record

LIMITS_NANO = {"account": ACCOUNT_LIMIT_USD * 10**9, "project": PROJECT_LIMIT_USD * 10**9}


@dataclass(slots=True)
class Findings:
    """What was counted, and what is wrong. ``problems`` is empty after a good run."""

    requests: int = 0
    decided: int = 0
    audit_records: int = 0
    lost: int = 0
    doubled: int = 0
    contradicted: int = 0
    overspent_usd_nano: int = 0
    internal_errors: int = 0
    longest_gap_ms: int = 0
    told_again: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def problem(self, what: str, example: object) -> None:
        """Count one thing that is wrong."""
        self.problems[what] += 1
        self.examples.setdefault(what, str(example)[:300])


@dataclass(slots=True)
class Topics:
    """All topics of a run, read whole."""

    requests: Mapping[int, list[Record]]
    usage: Mapping[int, list[Record]]
    decisions: Mapping[int, list[Record]]
    audit: Mapping[int, list[Record]]
    state: Mapping[int, list[Record]]
    calls: Mapping[int, list[Record]]
    letters: Mapping[int, list[Record]]
    history: frozenset[str]
    policies: list[Record]
    """As far as compaction has left them."""
    leases: Mapping[int, list[Record]]
    authored: frozenset[int] | None = None
    """Offsets of the sets in ``policies`` that their author wrote; None where nobody else did."""


async def read_topics(broker: Broker, prefix: str) -> Topics:
    """Read everything; verdicts uncommitted, as a gateway does, all else committed."""
    history = await read(broker, prefix, "policy-history")
    return Topics(
        await read(broker, prefix, "requests"),
        await read(broker, prefix, "usage"),
        await read(broker, prefix, "decisions", read_committed=False),
        await read(broker, prefix, "audit"),
        await read(broker, prefix, "state"),
        await read(broker, prefix, "calls"),
        await read(broker, prefix, "dead-letters"),
        frozenset((r.key or b"").decode() for r in history[0]),
        (await read(broker, prefix, "policies"))[0],
        await read(broker, prefix, "leases"),
    )


def check(
    topics: Topics,
    versions: Mapping[str, int],
    *,
    poison: int = 0,
    company_usd: int = 0,
    tables: Mapping[int, Mapping[str, bytes]] | None = None,
) -> Findings:
    """
    Check a whole run.

    Args:
        topics: What it left.
        versions: Which revision of the policies each set digest is.
        company_usd: The limit of the whole tenant's budget; 0: there is none.
        poison: How many requests are expected to be denied ``internal_error``.
        tables: Rows of a worker's tables, by partition; without them the changelogs' newest rows are checked.
    """
    found = Findings()
    _check_chain(topics, found)
    company = _Company(company_usd * 10**9)
    for partition in topics.requests:
        rows = tables[partition] if tables is not None else _newest_rows(topics, partition)
        _Partition(partition, topics, versions, found, company).check(rows)
    if company_usd:
        company.check(topics, found)
    if found.internal_errors != poison:
        found.problem("internal_error", found.internal_errors)
    return found


def in_flight(topics: Topics, at_ms: int) -> int:
    """How many requests had been asked at *at_ms* (the broker's clock) and were not in the ledger yet."""
    asked = {
        (partition, record.offset)
        for partition, records in topics.requests.items()
        for record in records
        if record.timestamp <= at_ms
    }
    for partition, records in topics.audit.items():
        for record in records:
            entry = events.decode_audit(record.value or b"")
            if entry.kind == "decision" and record.timestamp <= at_ms:
                asked.discard((partition, entry.source.offset))
    # Input without a decision of its own (a repeat, what nobody can read) is in no entry: one that is decided counts.
    decided = {
        (partition, events.decode_audit(r.value or b"").source.offset)
        for partition, records in topics.audit.items()
        for r in records
    }
    return len(asked & decided)


def _check_chain(topics: Topics, found: Findings) -> None:
    schema = json.loads((data("schemas") / "avro" / "audit.avsc").read_text())
    pairs = [(p, r.value) for p, records in topics.audit.items() for r in records]
    report = verify(pairs, [schema], from_=dict.fromkeys(topics.audit, START))
    found.audit_records = report.records
    for finding in report.findings:
        if topics.audit[finding.partition]:
            found.problem(f"chain {finding.kind}", finding)


def _newest_rows(topics: Topics, partition: int) -> dict[str, bytes]:
    """Of each key the last value, tombstones left out."""
    records = [*topics.state[partition], *topics.calls[partition]]
    rows = {(record.key or b"").decode(): record.value for record in records}
    return {key: value for key, value in rows.items() if value is not None}


@dataclass(slots=True)
class _Company:
    """The budget of the whole tenant: what all partitions together may spend, and did."""

    limit_nano: int
    used_nano: int = 0
    overrun_nano: int = 0

    def check(self, topics: Topics, found: Findings) -> None:
        """What was spent and reserved, and what was lent, are within the limit, but for overruns."""
        most = self.limit_nano + self.overrun_nano
        if self.used_nano > most:
            found.overspent_usd_nano += self.used_nano - most
            found.problem("the company is overspent", (self.used_nano, most))
        self._check_words(topics, found, most)
        for partition, records in topics.audit.items():
            entries = [events.decode_audit(record.value or b"") for record in records]
            self._check_lent(
                [e for e in entries if e.kind == "lease" and e.payload], found, partition
            )

    @staticmethod
    def _check_words(topics: Topics, found: Findings, most: int) -> None:
        """By what was said alone: of all that was ever granted, what was not repaid is within the limit."""
        granted: dict[int, int] = defaultdict(int)
        repaid: dict[int, int] = defaultdict(int)
        for records in topics.leases.values():
            for record in records:
                said = events.decode_lease(record.value or b"")
                sums = {"grant": granted, "repay": repaid}.get(said.kind)
                if sums is not None:
                    sums[said.holder] = max(sums[said.holder], said.amount_usd_nano)
        slices = sum(granted.values()) - sum(repaid.values())
        if slices > most:
            found.overspent_usd_nano += slices - most
            found.problem("more is granted than there is", (slices, most))

    def _check_lent(self, entries: list[events.Audit], found: Findings, partition: int) -> None:
        """Each time the owner lends, beside what is spent already, it has as much left."""
        granted: dict[int, int] = defaultdict(int)
        repaid: dict[int, int] = defaultdict(int)
        for entry in entries:
            said = events.decode_lease(entry.payload)
            for effect in entry.effects:
                if effect.row.startswith("g/") and effect.kind == "repay":
                    repaid[said.holder] = max(repaid[said.holder], said.amount_usd_nano)
                elif effect.row.startswith("g/") and effect.kind == "lend":
                    spent = max(said.least_usd_nano - granted[said.holder], 0)
                    lent = sum(granted.values()) - sum(repaid.values())
                    left = max(self.limit_nano - lent - spent, 0)
                    if effect.amount - spent > left:
                        found.problem("more is lent than there is", (partition, said, lent, left))
                    granted[said.holder] += effect.amount


class _Partition:
    """One partition: its ledger against its inputs."""

    def __init__(
        self,
        partition: int,
        topics: Topics,
        versions: Mapping[str, int],
        found: Findings,
        company: _Company,
    ) -> None:
        self.company = company
        self.slices: dict[int, int] = {}
        """What this partition may spend of the company's budget, by the offset of a request."""
        self.partition = partition
        self.topics = topics
        self.versions = versions
        self.found = found
        self.entries = [events.decode_audit(r.value or b"") for r in topics.audit[partition]]
        self.books = _Books()

    def check(self, rows: Mapping[str, bytes]) -> None:
        """Everything that can be said of one partition."""
        ledger = self._ledger()
        self._check_told(ledger)
        self._check_settlements()
        self._replay(ledger)
        self._check_rows(rows)
        self._check_policies()
        self._check_order()
        self.company.used_nano += sum(self.books.budgets["company", TENANT, ""])
        self.company.overrun_nano += self.books.overrun

    def _ledger(self) -> dict[int, tuple[events.Decision, bytes]]:
        """Decisions of the ledger by the offset of their request: exactly one each."""
        ledger: dict[int, tuple[events.Decision, bytes]] = {}
        calls: set[str] = set()
        granted = repaid = 0
        for entry in self.entries:
            is_held = any(effect.row.startswith("l/") for effect in entry.effects)
            if entry.kind == "lease" and entry.payload and is_held:
                said = events.decode_lease(entry.payload)
                if said.kind == "grant":
                    granted = max(granted, said.amount_usd_nano)
                elif said.kind == "repay":
                    repaid = max(repaid, said.amount_usd_nano)
            if entry.kind != "decision":
                continue
            self.slices[entry.source.offset] = granted - repaid
            decision = events.read_decision(entry.payload)
            assert isinstance(decision, events.Decision)
            if decision.source.offset in ledger or decision.id in calls:
                self.found.doubled += 1
                self.found.problem("doubled", decision.request_id)
            calls.add(decision.id)
            ledger[decision.source.offset] = (decision, entry.payload)
            for digest in decision.policy_sets.values():
                if digest not in self.topics.history:
                    self.found.problem("policy set not in the history", digest)
        return ledger

    def _check_told(self, ledger: Mapping[int, tuple[events.Decision, bytes]]) -> None:
        """Every verdict that was ever told is the one in the ledger; each in the ledger was told."""
        asked_ms = {r.offset: r.timestamp for r in self.topics.requests[self.partition]}
        told: dict[str, bytes] = {}
        last_ms = 0
        for record in self.topics.decisions[self.partition]:
            decision = events.read_decision(record.value or b"")
            if isinstance(decision, events.Claim):
                continue
            first = told.setdefault(decision.id, record.value or b"")
            if first != record.value:
                self.found.contradicted += 1
                self.found.problem("told twice, otherwise", decision.request_id)
            elif first is not record.value:
                self.found.told_again += 1
            since_ms = max(last_ms, asked_ms[decision.source.offset])
            self.found.longest_gap_ms = max(self.found.longest_gap_ms, record.timestamp - since_ms)
            last_ms = record.timestamp
        for decision, payload in ledger.values():
            first = told.pop(decision.id, b"")
            if not first:
                self.found.problem("decided and never told", decision.request_id)
            elif first != payload:
                self.found.contradicted += 1
                self.found.problem("the ledger is other than told", decision.request_id)
        for value in told.values():
            self.found.lost += 1
            self.found.problem("told and not in the ledger", value[:80])

    def _check_settlements(self) -> None:
        """Every usage record that can be read has exactly one entry."""
        seen = Counter(
            entry.source.offset
            for entry in self.entries
            if entry.kind == "settlement" and entry.source.topic.endswith(".usage")
        )
        for record in self.topics.usage[self.partition]:
            if seen[record.offset] != 1:
                self.found.problem("usage entries", (record.offset, seen[record.offset]))

    def _check_order(self) -> None:
        """Usage stands in the ledger where the decisions around it say: before one that had taken it, else after."""
        settled = taken = 0
        for entry in self.entries:
            if entry.kind == "settlement" and entry.source.topic.endswith(".usage"):
                settled = entry.source.offset + 1
                if entry.source.offset < taken:
                    self.found.problem("usage after who had taken it", (taken, entry.source))
            elif entry.kind == "decision":
                taken = max(taken, entry.source.usage_offset)
                if settled > entry.source.usage_offset:
                    self.found.problem("usage before its turn", (settled, entry.source))

    def _check_in_force(self, decision: events.Decision) -> None:
        """
        A decision's set is the newest one that stands before its policy offset.

        Or, where policies are signed, the one after it: a worker that starts, and finds the topic's own record gone
        or another's, begins with the newest of the history, whose commit may be seen there first.
        """
        sets = [
            (record.offset, events.decode_policy_set(record.value).digest)
            for record in self.topics.policies
            if record.key == b"*/set"
            and record.value
            and (self.topics.authored is None or record.offset in self.topics.authored)
        ]
        used = decision.policy_sets.get("*", "")
        before = [digest for offset, digest in sets if offset < decision.source.policy_offset]
        after = [digest for offset, digest in sets if offset >= decision.source.policy_offset]
        allowed = before[-1:] + (after[:1] if self.topics.authored is not None else [])
        if before and used and used not in allowed:
            self.found.problem("a set that was not in force", (decision.source, used, before[-1]))

    def _check_policies(self) -> None:
        """Policies never run backwards, and every change stands once in the ledger."""
        newest = 0
        changes: Counter[tuple[str, int]] = Counter()
        for entry in self.entries:
            if entry.kind == "decision":
                decision = events.read_decision(entry.payload)
                offset = decision.source.policy_offset  # type: ignore[union-attr]
                if offset < newest:
                    self.found.problem("policies ran backwards", (newest, offset))
                newest = max(newest, offset)
                self._check_in_force(decision)  # type: ignore[arg-type] # no claim is audited
            elif entry.kind == "policy_change":
                change = json.loads(entry.payload)
                changes[change["scope"], change["policy_offset"]] += 1
        for change, count in changes.items():
            if count != 1:
                self.found.problem("policy change entered again", change)

    # -- the model -----------------------------------------------------------------------------------------

    def _replay(self, ledger: Mapping[int, tuple[events.Decision, bytes]]) -> None:
        usage = self.topics.usage[self.partition]
        reports = iter([(r.offset, events.read_usage(r.value or b"")) for r in usage])
        following = next(reports, None)
        letters = Counter((r.key or b"").decode() for r in self.topics.letters[self.partition])
        for record in self.topics.requests[self.partition]:
            self.found.requests += 1
            told = ledger.get(record.offset)
            while following is not None and told and following[0] < told[0].source.usage_offset:
                self.books.report(following[1])
                following = next(reports, None)
            place = f"{record.topic}/{record.partition}/{record.offset}"
            self._request(record, told[0] if told else None, letters.pop(place, 0))
        while following is not None:
            self.books.report(following[1])
            following = next(reports, None)
        for place, count in letters.items():
            self.found.problem("dead letter of nothing", (place, count))

    def _request(self, record: Record, decision: events.Decision | None, letters: int) -> None:
        found = self.found
        expected, request = self._expected(record, decision)
        if decision is not None:
            found.decided += 1
        codes = [r.code for r in decision.reasons] if decision is not None else []
        found.codes.update(codes or ["none"])
        if "internal_error" in codes:
            found.internal_errors += 1
        wants_letter = expected in ("unreadable", "invalid_request") or "internal_error" in codes
        if letters != wants_letter:
            found.problem("dead letters", (record.offset, expected, letters))
        if expected in ("unreadable", "repeat"):
            if decision is not None:
                found.problem("decided what needs no decision", (expected, record.offset))
            return
        if decision is None:
            found.lost += 1
            found.problem("lost", (expected, record.offset, request and request.id))
            return
        if expected in codes or (expected in ("allow", "modify") and decision.verdict == expected):
            return
        if not any(code in ("owner", "internal_error") for code in codes):
            found.problem("another verdict", (expected, decision.verdict, codes, request))

    def _expected(
        self, record: Record, decision: events.Decision | None
    ) -> tuple[str, events.Request | None]:
        """What this request must come to, as a reason's code or a verdict. Books what it reserves."""
        try:
            request = events.read_request(record.value or b"")
        except RequestError:
            request_id, _, _ = events.peek_identity(record.value or b"")
            return ("invalid_request" if request_id else "unreadable"), None
        account = f"{TENANT}/{request.team.id}"
        if record.key != account.encode():
            return "misrouted", request
        if request.llm.prompt in (KILLS, BREAKS):
            return "internal_error", request  # Denied unread: it has no row.
        call = self.books.calls.get((account, request.id))
        content = (request.llm.prompt, request.llm.max_tokens)
        if call is not None:
            return ("repeat" if call["content"] == content else "request_id_reused"), request
        rows = [("account", account, ""), ("project", account, request.project.id or "")]
        if self.company.limit_nano:
            rows.append(("company", TENANT, ""))
        if decision is None:
            return "allow", request
        expected, cost = self._verdict(request, decision, rows)
        if decision.verdict == "deny":
            cost = 0
        self.books.open((account, request.id), content, rows, cost)
        return expected, request

    def _verdict(
        self, request: events.Request, decision: events.Decision, rows: list[tuple[str, str, str]]
    ) -> tuple[str, int]:
        version = self.versions.get(decision.policy_sets.get("*", ""))
        if version is None:
            self.found.problem("decided under an unknown set", decision.policy_sets)
            return "allow", 0
        tokens = CAP if request.llm.max_tokens == CAPPED else request.llm.max_tokens or 0
        cost = ((decision.facts.input_tokens or 0) + tokens) * NANO_PER_TOKEN
        if word(version) in (request.llm.prompt or ""):
            return f"WORD-{version}", cost
        over = [self.books.left(row) - cost for row in rows if row[0] != "company"]
        slice_nano = self.slices.get(decision.source.offset, 0)
        left = slice_nano - sum(self.books.budgets["company", TENANT, ""]) - cost
        if self.company.limit_nano and left < 0 <= min(over):
            if decision.verdict != "deny":
                self.found.overspent_usd_nano += -left
                self.found.problem("overspent a slice", decision.request_id)
            codes = {reason.code for reason in decision.reasons}
            return ("lease_pending" if "lease_pending" in codes else "budget_exceeded"), cost
        if min(over) < 0:
            if decision.verdict != "deny":
                self.found.overspent_usd_nano += -min(over)
                self.found.problem("overspent", decision.request_id)
            return "budget_exceeded", cost
        return ("modify" if request.llm.max_tokens == CAPPED else "allow"), cost

    def _check_rows(self, rows: Mapping[str, bytes]) -> None:
        """Stored rows against the books."""
        budgets: dict[tuple[str, str, str], tuple[int, int]] = {}
        calls: dict[tuple[str, str], tuple[str, int]] = {}
        for key, value in rows.items():
            parts = key.split("/")
            if key.startswith("b/"):
                row = events.decode_budget_row(value)
                place = (parts[3], parts[1].replace("%2F", "/"), parts[4])
                budgets[place] = (row.spent_usd_nano, row.reserved_usd_nano)
            elif key.startswith("c/"):
                call = events.decode_call_row(value)
                name = (parts[1].replace("%2F", "/"), parts[2])
                calls[name] = (call.status, call.charged_usd_nano)
        mine = {place: tuple(sums) for place, sums in self.books.budgets.items() if any(sums)}
        self._compare("budgets", mine, {p: sums for p, sums in budgets.items() if any(sums)})
        self._compare("calls", self.books.statuses(), calls)

    def _compare(self, what: str, mine: Mapping[Any, Any], stored: Mapping[Any, Any]) -> None:
        for key in mine.keys() | stored.keys():
            if mine.get(key) != stored.get(key):
                example = (key, "expected", mine.get(key), "stored", stored.get(key))
                self.found.problem(f"{what} differ", example)


class _Books:
    """Budgets and calls of one partition, kept naively."""

    def __init__(self) -> None:
        self.calls: dict[tuple[str, str], dict[str, Any]] = {}
        self.budgets: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
        self.early: dict[tuple[str, str], list[events.Usage]] = defaultdict(list)
        self.overrun = 0

    def left(self, row: tuple[str, str, str]) -> int:
        """What may still be reserved."""
        spent, reserved = self.budgets[row]
        return LIMITS_NANO[row[0]] - spent - reserved

    def open(
        self, name: tuple[str, str], content: Any, rows: list[tuple[str, str, str]], cost: int
    ) -> None:
        """A call that was decided; what was reported of it before is booked now."""
        self.calls[name] = {
            "content": content, "rows": rows, "held": cost, "charged": 0, "settled": False,
            "denied": cost == 0,
        }  # fmt: skip
        for row in rows:
            self.budgets[row][1] += cost
        for usage in self.early.pop(name, []):
            self.report(usage)

    def report(self, usage: events.Usage) -> None:
        """A usage report."""
        name = (f"{TENANT}/{usage.team}", usage.request_id)
        call = self.calls.get(name)
        if call is None:
            self.early[name].append(usage)
            return
        if call["settled"]:
            return
        cost = usage.cost_usd_nano or 0
        charged = cost if usage.final else call["charged"] + cost
        before = max(call["held"] - call["charged"], 0)
        after = 0 if usage.final else max(call["held"] - charged, 0)
        self.overrun += max(charged - max(call["held"], call["charged"]), 0)
        for row in call["rows"]:
            self.budgets[row][1] -= before - after
            self.budgets[row][0] += charged - call["charged"]
        call["charged"], call["settled"] = charged, usage.final

    def statuses(self) -> dict[tuple[str, str], tuple[str, int]]:
        """Status and charge of every call."""
        return {
            name: (
                "settled" if c["settled"] else "denied" if c["denied"] else "open", c["charged"],
            )
            for name, c in self.calls.items()
        }  # fmt: skip
