"""What the names of ``conditions.match`` stand for here, and why some stand for nothing."""

from __future__ import annotations

from typing import Final

# Name there: expression here, and how it differs.
_FACTS: Final[dict[tuple[str, ...], tuple[str, str]]] = {
    ("request", "prompt"): ("llm.prompt", ""),
    ("request", "model"): ("llm.model", ""),
    ("request", "provider"): ("llm.provider", ""),
    ("request", "max_tokens"): ("llm.max_output_tokens", ""),
    ("request", "estimated_cost"): (
        "llm.?estimated_cost_usd.orValue(0.0)",
        "a call without a known price counts as 0 USD",
    ),
    ("request", "estimated_tokens"): (
        "llm.input_tokens",
        "tokens are counted as the model counts them",
    ),
    ("request", "id"): ("id", ""),
    ("request", "context", "environment"): ("project.environment", ""),
    ("request", "context", "project"): ("project.id", ""),
    ("request", "context", "ip_address"): ("caller.ip", ""),
    ("request", "context", "session_id"): ("conversation_id", ""),
    ("user", "id"): ("user.id", ""),
    ("user", "email"): ("user.email", ""),
    ("user", "region"): ("user.region", ""),
    ("user", "roles"): ("user.roles", ""),
    ("user", "permissions"): ("user.permissions", ""),
    ("user", "team"): ("team.id", ""),
    ("user", "tier"): ("team.tier", "the tier is the team's"),
    ("team", "id"): ("team.id", ""),
    ("team", "name"): ("team.name", ""),
    ("team", "tier"): ("team.tier", ""),
    ("project", "environment"): ("project.environment", ""),
    ("project", "id"): ("project.id", ""),
}

# What a provider answers: expression here, and how it differs.
PROVIDERS: Final[dict[str, tuple[str, str]]] = {
    "contains_pii": ("pii.count > 0", "personal data is found by this engine's detectors"),
    "pii_detector.detect_types": ("pii.types", "personal data is found by this engine's detectors"),
    "shield.detect_jailbreak().detected": (
        "injection.score >= 0.5",
        "injection is scored by this engine's detector, at 0.5",
    ),
    "shield.scan_prompt().passed": (
        "(injection.score < 0.5 && secrets.count == 0)",
        "the prompt is scanned by this engine's detectors",
    ),
    "costops.estimate_cost().total": (
        "llm.?estimated_cost_usd.orValue(0.0)",
        "a call without a known price counts as 0 USD",
    ),
}
PROVIDER_ROOTS: Final = frozenset({
    "rate_limit", "costops", "shield", "content_safety", "toxicity", "hate_speech", "system",
})  # fmt: skip
_MONEY: Final = (
    "money and rates are held by `budgets:` and `rate_limits:`, not compared in a condition"
)
_NO_DETECTOR: Final = "no detector here judges this"


def fact_of(path: tuple[str, ...]) -> tuple[str, str] | None:
    """The expression that *path* stands for, and how it differs; None where there is none."""
    found = _FACTS.get(path)
    if found is not None:
        return found
    if len(path) == 2 and path[0] in {"user", "request"} and not _is_money(path):
        return f"attributes.{path[1]}", f"`{'.'.join(path)}` is read from `attributes.{path[1]}`"
    if len(path) == 3 and path[:2] == ("request", "context"):
        return f"attributes.{path[2]}", f"`{'.'.join(path)}` is read from `attributes.{path[2]}`"
    return None


def _is_money(path: tuple[str, ...]) -> bool:
    return path[1] in {"budget", "quota", "limits", "unlimited_budget"}


def why_not(path: tuple[str, ...]) -> str:
    """Why *path* stands for nothing here."""
    name = ".".join(path)
    if len(path) > 1 and (_is_money(path) or path[0] == "rate_limit"):
        return f"`{name}`: {_MONEY}"
    if path[0] in {"content_safety", "toxicity", "hate_speech", "shield"}:
        return f"`{name}`: {_NO_DETECTOR}"
    if path[0] == "system":
        return f"`{name}`: a policy sees the call, not the system's health"
    return f"there is no `{name}` here"


def why_no_provider(name: str) -> str:
    """Why what a provider answers stands for nothing here."""
    if name.startswith(("costops.", "rate_limit.")):
        return f"`{name}`: {_MONEY}"
    return f"`{name}`: {_NO_DETECTOR}"
