"""What the tests of policies share: sources, programs and requests in few words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from enforcer import events, policy


def spec(body: str, *, tenant: str = "acme", name: str = "p") -> str:
    """A policy in YAML with *body* as its spec: the spec's first line is line 4."""
    lines = "\n".join("  " + line if line else "" for line in body.strip("\n").splitlines())
    head = f"apiVersion: enforcer/v1\nkind: Policy\nmetadata: {{id: {name}, tenant: {tenant}}}\n"
    return f"{head}spec:\n{lines}\n"


def tenant(body: str = "{}", *, name: str = "acme") -> str:
    """A Tenant document in YAML."""
    return f"apiVersion: enforcer/v1\nkind: Tenant\nmetadata: {{id: {name}}}\nspec: {body}\n"


def load(*texts: str, has_redaction_key: bool = False) -> policy.Loaded:
    """Sources named p0.yaml, p1.yaml and so on, loaded."""
    sources = [(f"p{at}.yaml", text) for at, text in enumerate(texts)]
    return policy.load(sources, has_redaction_key=has_redaction_key)


def documents(*texts: str) -> tuple[policy.Document, ...]:
    """The documents of sources that must load without an error."""
    loaded = load(*texts)
    assert not loaded.has_errors, [str(each) for each in loaded.findings]
    return loaded.documents


def program(*texts: str, name: str = "acme") -> policy.TenantProgram:
    """The program of tenant *name* over the documents of *texts*."""
    found = documents(*texts)
    scopes = {each.scope for each in found}
    return policy.compile_tenant(
        policy.compile_scope(found, "*") if "*" in scopes else None,
        policy.compile_scope(found, name) if name in scopes else None,
        name,
    )


def request(**fields: object) -> events.Request:
    """A request of tenant acme with *fields* at the top."""
    llm = {"provider": "openai", "model": "gpt-4o", **fields.pop("llm", {})}  # type: ignore[dict-item]
    data = {"id": "r", "tenant": "acme", "llm": llm, **fields}
    return events.request_from_json(json.dumps(data).encode())


@dataclass
class Facts:
    """Facts as given, that count how often each is computed."""

    text: str = ""
    tokens: int = 0
    cost: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    unsure: dict[str, int] = field(default_factory=dict)  # At confidence .4.
    secrets: list[str] = field(default_factory=list)
    score: float = 0.0
    signals: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    def _note(self, name: str) -> None:
        self.read.append(name)

    @property
    def prompt(self) -> str:
        self._note("prompt")
        return self.text

    @property
    def input_tokens(self) -> int:
        self._note("input_tokens")
        return self.tokens

    @property
    def max_output_tokens(self) -> int:
        self._note("max_output_tokens")
        return self.tokens

    @property
    def estimated_cost_usd(self) -> float | None:
        self._note("estimated_cost_usd")
        return self.cost

    @property
    def pii_counts(self) -> dict[str, int]:
        self._note("pii")
        return self.counts

    @property
    def pii_types(self) -> list[str]:
        self._note("pii")
        return sorted(self.counts)

    @property
    def pii_count(self) -> int:
        self._note("pii")
        return sum(self.counts.values())

    def pii_counts_at(self, confidence: float) -> dict[str, int]:
        self._note(f"pii at {confidence}")
        return {kind: n for kind, n in self.unsure.items() if confidence <= 0.4} | self.counts

    def pii_types_at(self, confidence: float) -> list[str]:
        return sorted(self.pii_counts_at(confidence))

    def pii_count_at(self, confidence: float) -> int:
        return sum(self.pii_counts_at(confidence).values())

    @property
    def secrets_types(self) -> list[str]:
        self._note("secrets")
        return self.secrets

    @property
    def secrets_count(self) -> int:
        self._note("secrets")
        return len(self.secrets)

    @property
    def injection_score(self) -> float:
        self._note("injection")
        return self.score

    @property
    def injection_signals(self) -> list[str]:
        self._note("injection")
        return self.signals


def rules_of(matches: list[policy.Match]) -> list[str]:
    """The matches as ``policy/rule:verdict``."""
    return [f"{each.policy}/{each.rule}:{each.verdict}" for each in matches]
