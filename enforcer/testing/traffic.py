"""
Traffic as companies make it, from a seed: the same seed gives the same calls, and no prompt repeats.

People chat, over several turns and often streaming; programs code, in runs of steps with tools and
growing contexts. Arrivals come in bursts. Some calls hold card numbers, addresses, keys or takeover
attempts; some are far too long, ask a retired model or a provider nobody approved. Each call comes with
what would be reported about it, if it were made: completed, cancelled half-way, failed, or nothing at
all, as when a gateway dies.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer import events
from enforcer.testing.companies import COMPANIES, Caller, Crowd
from enforcer.testing.words import Words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from enforcer.testing.trace import Arrival

_OPEN_MAX: Final = 256
_SYSTEM: Final = "You answer briefly and say when you do not know."
_TOOLS: Final = [
    '{"type":"function","function":{"name":"read_file","parameters":{"type":"object"}}}',
    '{"type":"function","function":{"name":"run_tests","parameters":{"type":"object"}}}',
]
# Calm and burst, as shares of the mean rate and of time: 0.6 x 0.85 + 3.27 x 0.15 = 1.
_CALM_RATE, _BURST_RATE = 0.6, 3.27
_CALM_S, _BURST_S = 3.4, 0.6


class Report(NamedTuple):
    """A usage report, *after_s* seconds after the call was let through."""

    after_s: float
    usage: events.Usage


class Call(NamedTuple):
    """
    One call: when, what, and what is reported if it is made.

    The request's parts are shared with other calls of its conversation: edits make copies.
    """

    at_s: float
    request: events.Request
    reports: tuple[Report, ...]


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of all calls, but for *users* and *continued*, the share that continue a conversation."""

    users: int = 200
    continued: float = 0.6
    coding: float = 0.3
    cards: float = 0.02
    contacts: float = 0.08
    keys: float = 0.005
    takeovers: float = 0.01
    oversized: float = 0.006
    retired: float = 0.006
    unapproved: float = 0.006
    laptops: float = 0.02
    prompt_only: float = 0.05
    # Of the calls that are made:
    cancelled: float = 0.05
    failed: float = 0.02
    silent: float = 0.01


@dataclass(slots=True)
class _Conversation:
    """A chat or an agent's run, growing from call to call."""

    id: str
    caller: Caller
    provider: str
    model: str
    is_coding: bool
    turns_left: int
    messages: list[events.Message]
    step: int = 0


def traffic(
    seed: int,
    *,
    rate_per_s: float = 60.0,
    mix: Mix | None = None,
    tag: str = "",
    trace: Iterable[Arrival] | None = None,
) -> Iterator[Call]:
    """
    Calls without end, in order of time (of a trace: as many as it has).

    Args:
        seed: Everything follows from it.
        rate_per_s: Mean rate; bursts are five times the calm between them. Unused with a trace.
        mix: What kinds of calls, and how many people.
        tag: Begins every id, so that two runs of one seed are different calls.
        trace: Arrivals and sizes to follow instead.
    """
    assert rate_per_s > 0, rate_per_s
    source = _Source(seed, mix or Mix(), tag or f"s{seed}")
    if trace is None:
        for at_s in _arrivals(random.Random(f"arrivals-{seed}"), rate_per_s):  # noqa: S311 — traffic, not secrets
            yield source.call(at_s)
    else:
        for arrival in trace:
            yield source.sized(arrival)


def _arrivals(rng: random.Random, rate_per_s: float) -> Iterator[float]:
    """A Poisson process whose rate alternates between calm and burst."""
    at_s, phase_end_s, bursting = 0.0, rng.expovariate(1 / _CALM_S), False
    while True:
        factor = _BURST_RATE if bursting else _CALM_RATE
        next_s = at_s + rng.expovariate(rate_per_s * factor)
        if next_s < phase_end_s:
            at_s = next_s
            yield at_s
        else:
            # Without memory, the rest of the interval may be drawn anew at the new rate.
            at_s, bursting = phase_end_s, not bursting
            phase_end_s += rng.expovariate(1 / (_BURST_S if bursting else _CALM_S))


class _Source:
    """Makes calls, and keeps the conversations that are open."""

    def __init__(self, seed: int, mix: Mix, tag: str) -> None:
        self._rng = random.Random(f"traffic-{seed}")  # noqa: S311 — traffic, not secrets
        self._words = Words(seed)
        self._mix = mix
        self._tag = tag
        self._crowd = Crowd(self._rng, users=mix.users, companies=COMPANIES)
        self._open: list[_Conversation] = []
        self._serial = 0

    def call(self, at_s: float) -> Call:
        """The next call, of a conversation that is open or a new one."""
        rng = self._rng
        if self._open and rng.random() < self._mix.continued:
            talk = self._open[rng.randrange(len(self._open))]
            self._answer(talk)
        else:
            talk = self._begin()
        self._ask(talk)
        talk.turns_left -= 1
        if talk.turns_left <= 0:
            self._open = [other for other in self._open if other is not talk]
        output_tokens = min(4000, int(rng.lognormvariate(5.0, 0.8)) + 1)
        return self._made(at_s, talk, list(talk.messages), output_tokens)

    def sized(self, arrival: Arrival) -> Call:
        """A call of a recorded size; a long context is one of several turns."""
        talk = self._begin(keep=False)
        turns = 1 + min(4, arrival.input_tokens // 600)
        tokens = arrival.input_tokens // (2 * turns - 1)
        messages = []
        for turn in range(2 * turns - 1):
            role = "assistant" if turn % 2 else "user"
            messages.append(events.Message(role, content=self._words.text(tokens)))
        return self._made(arrival.at_s, talk, messages, arrival.output_tokens)

    def _begin(self, *, keep: bool = True) -> _Conversation:
        rng = self._rng
        caller = self._crowd.pick()
        provider, model = rng.choice(caller.company.models)
        coding = rng.random() < self._mix.coding
        self._serial += 1
        talk = _Conversation(
            id=f"{self._tag}-c{self._serial}",
            caller=caller,
            provider=provider,
            model=model,
            is_coding=coding,
            # A few runs do not find their end: a policy ends them.
            turns_left=rng.randint(3, 40) if coding else rng.randint(1, 6),
            messages=[events.Message("system", content=_SYSTEM)],
        )
        if keep:
            self._open.append(talk)
            if len(self._open) > _OPEN_MAX:
                del self._open[0]
        return talk

    def _answer(self, talk: _Conversation) -> None:
        """What the model said to the turn before, and what a tool returned."""
        words = self._words
        if talk.is_coding:
            tool = events.ToolCall(
                id=f"t{talk.step}", name="read_file", arguments=f'{{"step":{talk.step}}}'
            )
            talk.messages += [
                events.Message("assistant", content="", tool_calls=[tool]),
                events.Message(
                    "tool", content=words.code(150), origin="tool", tool_call_id=tool.id
                ),
            ]
        else:
            talk.messages.append(events.Message("assistant", content=words.text(120)))
        if len(talk.messages) > 24:
            del talk.messages[1:5]

    def _ask(self, talk: _Conversation) -> None:
        talk.step += 1
        if talk.is_coding and talk.step > 1:
            return
        talk.messages.append(events.Message("user", content=self._question()))

    def _question(self) -> str:
        """What somebody asks: mostly harmless."""
        rng, mix, words = self._rng, self._mix, self._words
        tokens = min(1200, int(rng.lognormvariate(4.4, 0.9)) + 10)
        at = rng.random()
        for share, write in (
            (mix.cards, words.with_card),
            (mix.contacts, words.with_contact),
            (mix.keys, words.with_key),
            (mix.takeovers, words.with_takeover),
        ):
            if at < share:
                return write(tokens)
            at -= share
        return words.text(18_000 if at < mix.oversized else tokens)

    def _made(
        self, at_s: float, talk: _Conversation, messages: list[events.Message], output_tokens: int
    ) -> Call:
        self._serial += 1
        name = f"{self._tag}-{self._serial:06d}"
        request = self._request(name, talk, messages)
        return Call(at_s, request, self._reports(request, output_tokens))

    def _request(
        self, name: str, talk: _Conversation, messages: list[events.Message]
    ) -> events.Request:
        rng, mix, caller = self._rng, self._mix, talk.caller
        provider, model = talk.provider, talk.model
        at = rng.random()
        if at < mix.retired:
            provider, model = "openai", "gpt-3.5-turbo"
        elif at < mix.retired + mix.unapproved:
            provider, model = "pirate-ai", "parrot-7b"
        llm = events.Llm(
            provider,
            model,
            operation="chat",
            max_tokens=rng.choice((256, 512, 512, 1024, 2048, None)),
            temperature=rng.choice((None, None, 0.0, 0.0, 0.2, 0.2, 0.7, 0.7, 0.7, 1.0, 1.0, 1.3)),
            stream=rng.random() < 0.6,
            messages=messages,
            tools=_TOOLS if talk.is_coding else [],
        )
        last = messages[-1].content
        if len(messages) == 2 and rng.random() < mix.prompt_only and isinstance(last, str):
            llm.messages, llm.prompt = [], last
        attributes: dict[str, bool | int | float | str | list[str] | None] = {}
        if talk.is_coding:
            attributes["agent_step"] = talk.step
        if caller.company.region == "eu":
            attributes["endpoint_region"] = "us" if rng.random() < 0.02 else "eu"
        kind = "service" if talk.is_coding else "app"
        return events.Request(
            name,
            caller.company.tenant,
            user=caller.user,
            team=caller.team,
            project=caller.project,
            conversation_id=talk.id,
            caller=events.Caller("laptop" if rng.random() < mix.laptops else kind),
            llm=llm,
            attributes=attributes,
        )

    def _reports(self, request: events.Request, output_tokens: int) -> tuple[Report, ...]:
        """What a gateway would report: the whole, or where and how the call ended."""
        rng, mix, llm = self._rng, self._mix, request.llm
        size = sum(len(message.content) for message in llm.messages) + len(llm.prompt or "")
        given = size // 5 + 8 * len(llm.messages)
        output_tokens = min(output_tokens, llm.max_tokens or output_tokens)
        took_s = 0.15 + output_tokens / 400
        at = rng.random()
        if at < mix.silent:
            return ()
        if at < mix.silent + mix.failed:
            return (Report(0.2, _usage(request, "failed", None, None)),)
        if at < mix.silent + mix.failed + mix.cancelled:
            part = rng.random()
            done = int(output_tokens * part)
            return (Report(took_s * part, _usage(request, "cancelled", given, done)),)
        whole = Report(took_s, _usage(request, "completed", given, output_tokens))
        if not llm.stream or output_tokens < 300:
            return (whole,)
        # A partial report says what came since the last; the final one says the whole.
        half = _usage(request, "completed", given, output_tokens // 2)
        half.final = False
        return (Report(took_s / 2, half), whole)


def _usage(
    request: events.Request, outcome: str, given: int | None, output: int | None
) -> events.Usage:
    return events.Usage(
        request.id,
        request.tenant,
        outcome=outcome,
        input_tokens=given,
        output_tokens=output,
        user=request.user.id,
        team=request.team.id,
        project=request.project.id,
    )
