"""Who asks: the companies that ``policies/tenants`` describes, their teams and people, and one nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from enforcer import events

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Team:
    """A team: *weight* is its share of its company's traffic."""

    id: str
    tier: str | None
    weight: float
    environment: str = "production"


@dataclass(frozen=True, slots=True)
class Company:
    """A tenant: *weight* is its share of all traffic."""

    tenant: str
    weight: float
    region: str
    teams: tuple[Team, ...]
    models: tuple[tuple[str, str], ...]


_GPT: Final = (("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("openai", "gpt-4.1"))
_CLAUDE: Final = (("anthropic", "claude-sonnet-4-5"), ("anthropic", "claude-haiku-4-5"))
_GEMINI: Final = (("google", "gemini-2.5-flash"),)

COMPANIES: Final = (
    Company(
        "acme",
        0.55,
        "us",
        (
            Team("payments", "gold", 0.4),
            Team("search", "gold", 0.3),
            Team("support", "silver", 0.2),
            Team("interns", "free", 0.1, "dev"),
        ),
        (*_GPT, *_CLAUDE),
    ),
    Company(
        "globex",
        0.3,
        "eu",
        (
            Team("logistik", "gold", 0.6),
            Team("versand", "silver", 0.25),
            Team("praktikum", "free", 0.15, "dev"),
        ),
        (*_CLAUDE, *_GEMINI, ("openai", "gpt-4o-mini")),
    ),
    Company(
        "initech",
        0.14,
        "us",
        (Team("core", "silver", 0.7), Team("sidequest", None, 0.3, "staging")),
        (("openai", "gpt-4o-mini"), *_GEMINI),
    ),
    # No document names it: its requests are denied, `unknown_tenant`.
    Company("hooli", 0.01, "us", (Team("nucleus", "gold", 1.0),), _GPT),
)


@dataclass(frozen=True, slots=True)
class Caller:
    """One who asks, as the records of a request say it. The records are shared: nobody changes them."""

    company: Company
    user: events.User
    team: events.Team
    project: events.Project


class Crowd:
    """All who may ask. Few of a team ask much, many little, as in any company."""

    def __init__(self, rng: random.Random, *, users: int, companies: Sequence[Company]) -> None:
        self._rng = rng
        self._callers: list[Caller] = []
        self._shares: list[float] = []
        total = 0.0
        for company in companies:
            for team in company.teams:
                share = company.weight * team.weight
                members = max(1, round(users * share))
                # Zipf: the n-th of a team asks 1/n as often as the first.
                scale = share / sum(1 / rank for rank in range(1, members + 1))
                for rank in range(1, members + 1):
                    total += scale / rank
                    self._callers.append(_caller(company, team, rank))
                    self._shares.append(total)

    def pick(self) -> Caller:
        """Whoever asks next."""
        return self._rng.choices(self._callers, cum_weights=self._shares)[0]


def _caller(company: Company, team: Team, rank: int) -> Caller:
    name = f"{company.tenant}-{team.id}-{rank}"
    return Caller(
        company=company,
        user=events.User(
            name,
            roles=["developer" if rank % 2 else "analyst"],
            permissions=["pii.send"] if rank == 5 else [],
            region=company.region,
        ),
        team=events.Team(team.id, tier=team.tier),
        project=events.Project(f"{team.id}-app", environment=team.environment),
    )
