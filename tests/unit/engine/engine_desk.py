"""What the tests of the engine share: documents in few words, and one partition to decide on."""

import json
from dataclasses import dataclass, field

from enforcer import events, policy, state
from enforcer.engine import Arrival, Engine

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
NOW_US = 1_794_830_400_000_000  # Noon UTC.
CARD = "4111 1111 1111 1111"
MAIL = "jane.roe@company.com"


def spec(body, *, name="p", tenant="acme"):
    """A policy whose spec is *body*, YAML in flow or block style."""
    lines = "\n".join("  " + line for line in body.strip("\n").splitlines())
    head = f"apiVersion: enforcer/v1\nkind: Policy\nmetadata: {{id: {name}, tenant: '{tenant}'}}"
    return f"{head}\nspec:\n{lines}\n"


def tenant(body="{}", *, name="acme"):
    """A Tenant document."""
    return f"apiVersion: enforcer/v1\nkind: Tenant\nmetadata: {{id: {name}}}\nspec: {body}\n"


def program(*texts, name="acme", invalid=""):
    """The program of a tenant over documents that must check."""
    loaded = policy.load([(f"d{at}.yaml", text) for at, text in enumerate(texts)])
    assert not loaded.has_errors, [str(each) for each in loaded.findings]
    scopes = {each.scope for each in loaded.documents}
    compiled = [
        policy.compile_scope(loaded.documents, scope) if scope in scopes else None
        for scope in ("*", name)
    ]
    return policy.compile_tenant(*compiled, name, invalid=invalid)


def asked(prompt="hi", **fields):
    """A request as JSON; ``llm`` is merged over a small call to a model with a price."""
    llm = {"provider": "openai", "model": "gpt-4o", "max_tokens": 10, **fields.pop("llm", {})}
    if "messages" not in llm and prompt is not None:
        llm["prompt"] = prompt
    return {"id": "r1", "tenant": "acme", "llm": llm, **fields}


def rule(rule_id, then, condition=None):
    """A rule in flow style; without a condition it always matches."""
    found = "" if condition is None else f"condition: {condition}, "
    return f"- {{id: {rule_id}, {found}then: {then}}}"


def rules(*written, priority=0, extra=""):
    """A policy's spec of rules."""
    return f"priority: {priority}\n{extra}\nrules:\n" + "\n".join(f"  {each}" for each in written)


@dataclass
class Desk:
    """One partition: rows, queue, time, and the programs of its tenants."""

    programs: dict = field(default_factory=dict)
    rows: state.MemoryRows = field(default_factory=state.MemoryRows)
    queue: state.ExpiryQueue = field(default_factory=state.ExpiryQueue)
    engine: Engine = field(default_factory=Engine)
    now_us: int = NOW_US
    offset: int = 0
    partitions: int = 0

    @classmethod
    def of(cls, *texts):
        """A desk whose only tenant is acme."""
        return cls({"acme": program(*texts)})

    def program_of(self, name):
        """The program in force, of an unknown tenant too."""
        return self.programs.get(name) or program(name=name)

    def arrival(self, value, *, key=None, late_ms=0, partition=0):
        """The next record."""
        if isinstance(value, dict):
            value = json.dumps(value).encode()
        self.offset += 1
        source = events.Source("requests", partition, self.offset, 0, 0, late_ms)
        return Arrival(key, value, source, self.now_us, self.now_us, self.partitions)

    def outcome(self, value, **kwargs):
        """Take one request: a JSON object, or bytes."""
        arrival = self.arrival(value, **kwargs)
        return self.engine.request(self.program_of, arrival, self.rows, self.queue)

    def decide(self, value=None, **kwargs):
        """The decision of a request that must get one of its own."""
        found = self.outcome(asked() if value is None else value, **kwargs)
        assert found.decision is not None
        return found.decision

    def usage(self, request_id="r1", **fields):
        """Take one usage report."""
        value = {"request_id": request_id, "tenant": "acme", "attempt": 1, "final": True, **fields}
        value.setdefault("outcome", "completed")
        arrival = self.arrival(value)
        return self.engine.usage(self.program_of, arrival, self.rows, self.queue)

    def only(self, prefix):
        """The one row of a kind."""
        ((_, row),) = self.rows.items(prefix)
        return row

    def snapshot(self, prefix=""):
        """All rows of a kind, as bytes."""
        return {key: events.encode(row) for key, row in self.rows.items(prefix)}

    def money(self):
        """Rows of budgets and rate limits, as bytes."""
        return self.snapshot("b/") | self.snapshot("r/")


def decide(value, *texts, **kwargs):
    """Decide one request of acme under documents, a Tenant among them if none is given."""
    named = any("kind: Tenant" in text for text in texts)
    return Desk.of(*texts, *([] if named else [tenant()])).decide(value, **kwargs)


def codes(decision):
    """The codes of a decision's reasons."""
    return [reason.code for reason in decision.reasons]


def edits(decision):
    """Edits in short: op, path, value parsed, splices with their text."""
    return [
        (
            e.op,
            e.path,
            e.text if e.op == "splice" else None if e.value is None else json.loads(e.value),
        )
        for e in decision.edits
    ]
