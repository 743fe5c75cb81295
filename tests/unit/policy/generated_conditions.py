"""Random conditions in CEL over declared fields, with and without guards, and random requests for them."""

from __future__ import annotations

from hypothesis import strategies as st

TEXTS = ["", "a", "user", "7", "-12", "10.0.0.1", "10.0.0.0/8", "gpt-4o", "é🙂x", "true", "9" * 18]
TEXT_FIELDS = [
    "user.id", "user.email", "user.region", "team.id", "team.tier", "project.environment",
    "conversation_id", "caller.ip", "llm.model", "llm.provider", "llm.prompt", "llm.service_tier",
    "llm.messages[0].role", "llm.messages[1].name", "user.roles[0]", "phase",
]  # fmt: skip
INT_FIELDS = ["llm.max_tokens", "llm.n", "attempt", "deadline_ms", "part", "llm.input_tokens",
              "llm.max_output_tokens", "pii.count", "pii.counts.email", 'pii.counts["email"]']  # fmt: skip
LIST_FIELDS = ["user.roles", "user.permissions", "pii.types", "injection.signals"]
GUARDABLE = [each for each in TEXT_FIELDS + INT_FIELDS[:5] if "." in each and each[-1] != "]"]
GUARDABLE += ["llm.temperature", "llm.estimated_cost_usd"]


def quoted(text: str) -> str:
    """A CEL literal."""
    return f'"{text}"'


def _numbers(depth: int) -> st.SearchStrategy[str]:
    leaf = st.one_of(
        st.sampled_from(INT_FIELDS),
        st.sampled_from([0, 1, -1, 2, 7, 1000, 2**31, 2**62, 2**63 - 1]).map(str),
        st.sampled_from(LIST_FIELDS + TEXT_FIELDS).map(lambda each: f"size({each})"),
        st.just("now.getHours()"),
    )
    if not depth:
        return leaf
    below = _numbers(depth - 1)
    texts = _texts(depth - 1)
    return st.one_of(
        leaf,
        st.tuples(below, st.sampled_from("+-*/%"), below).map(" ".join).map("({})".format),
        below.map("-({})".format),
        texts.map("int({})".format),
        st.sampled_from(["llm.temperature", "injection.score", "llm.estimated_cost_usd"]).map("int({})".format),
        st.tuples(texts, texts).map(lambda two: f"{two[0]}.indexOf({two[1]})"),
        st.tuples(_conditions(depth - 1), below, below).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
        below.map("math.abs({})".format),
        st.tuples(below, below).map(lambda two: f"math.least({two[0]}, {two[1]})"),
        st.sampled_from(INT_FIELDS[:4]).map(_or_value).map(lambda path: f"{path}.orValue(3)"),
    )  # fmt: skip


def _or_value(path: str) -> str:
    head, dot, tail = path.rpartition(".")
    return f"{head}.?{tail}" if dot else f"request.?{tail}"


def _texts(depth: int) -> st.SearchStrategy[str]:
    leaf = st.one_of(st.sampled_from(TEXT_FIELDS), st.sampled_from(TEXTS).map(quoted))
    if not depth:
        return leaf
    below, numbers = _texts(depth - 1), _numbers(depth - 1)
    return st.one_of(
        leaf,
        st.tuples(below, below).map(" + ".join).map("({})".format),
        st.tuples(below, numbers).map(lambda two: f"{two[0]}.charAt({two[1]})"),
        st.tuples(below, numbers, numbers).map(lambda t: f"{t[0]}.substring({t[1]}, {t[2]})"),
        st.tuples(below, st.integers(0, 3)).map(lambda two: f"{two[0]}.substring({two[1]})"),
        st.tuples(st.sampled_from(LIST_FIELDS), numbers).map(lambda two: f"{two[0]}[{two[1]}]"),
        below.map("{}.lowerAscii()".format),
        numbers.map("string({})".format),
        st.tuples(below, below, below).map(lambda t: f"{t[0]}.replace({t[1]}, {t[2]})"),
        st.sampled_from(["user.?email", "team.?id"]).map('{}.orValue("none")'.format),
    )


MESSAGE_TERMS = [
    'm.role == "user"', 'm.content == "x"', 'm.content.contains("e")', "type(m.content) == string",
    "has(m.name)", 'm.name.startsWith("a")', "size(m.tool_calls) > 0", 'm.tool_calls[0].name == "f"',
    'm.tool_calls.exists(t, t.arguments.contains("x"))', "int(m.name) > 3", "size(m.content) > 2",
    "m.name.matches('^-?[0-9]{1,18}$')", "type(m.content) == list", "size(m.content) > 0 && m.content[0] != 1",
    'm.role.substring(0, 2) == "us"', 'm.role in ["user", "tool"]', "has(m.tool_call_id)",
    'm.tool_call_id != "a"',
]  # fmt: skip


def _message_conditions() -> st.SearchStrategy[str]:
    chain = st.tuples(
        st.lists(st.sampled_from(MESSAGE_TERMS), min_size=1, max_size=4), st.sampled_from(["&&", "||"])
    ).map(lambda two: f" {two[1]} ".join(f"({each})" for each in two[0]))  # fmt: skip
    kinds = st.sampled_from(["exists", "all", "exists_one"])
    return st.tuples(kinds, chain).map(lambda two: f"llm.messages.{two[0]}(m, {two[1]})")


def _guards() -> st.SearchStrategy[str]:
    return st.one_of(
        st.sampled_from(GUARDABLE).map("has({})".format),
        st.sampled_from(GUARDABLE).map("!has({})".format),
        st.tuples(st.sampled_from(INT_FIELDS), st.sampled_from(["<", ">", "<=", ">=", "==", "!="]),
                  st.sampled_from([0, 1, 5, 1000])).map(lambda t: f"{t[0]} {t[1]} {t[2]}"),
        st.tuples(st.sampled_from(LIST_FIELDS + TEXT_FIELDS + ["llm.messages"]), st.integers(0, 4)).map(
            lambda two: f"size({two[0]}) > {two[1]}"),
        st.sampled_from(TEXT_FIELDS).map(lambda each: f"{each}.matches('^-?[0-9]{{1,18}}$')"),
        st.sampled_from(TEXT_FIELDS).map("isIP({})".format),
        st.just('"email" in pii.counts'),
        st.just("llm.temperature > -1e9 && llm.temperature < 1e9"),
        st.tuples(st.sampled_from(TEXT_FIELDS), st.sampled_from(TEXTS)).map(lambda t: f'{t[0]} == "{t[1]}"'),
    )  # fmt: skip


def _conditions(depth: int) -> st.SearchStrategy[str]:
    numbers, texts = _numbers(max(0, depth - 1)), _texts(max(0, depth - 1))
    relation = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    leaf = st.one_of(
        _guards(),
        st.tuples(numbers, relation, numbers).map(" ".join),
        st.tuples(texts, relation, texts).map(" ".join),
        st.tuples(texts, st.sampled_from(["startsWith", "contains", "endsWith"]), texts).map(
            lambda t: f"{t[0]}.{t[1]}({t[2]})"
        ),
        st.tuples(texts, st.sampled_from(LIST_FIELDS)).map(" in ".join),
        texts.map('cidr("10.0.0.0/8").containsIP({})'.format),
        st.sampled_from(["llm.temperature", "llm.estimated_cost_usd", "injection.score"]).map("{} > 0.5".format),
        _message_conditions(),
        st.tuples(st.sampled_from(LIST_FIELDS), st.integers(0, 2)).map(
            lambda two: f"{two[0]}.all(r, r.substring({two[1]}) != r || size(r) > 1)"
        ),
        st.just("llm.stream"),
        st.just("final"),
    )  # fmt: skip
    if not depth:
        return leaf
    below = _conditions(depth - 1)
    return st.one_of(
        leaf,
        st.lists(below, min_size=2, max_size=4).map(lambda each: f"({' && '.join(each)})"),
        st.lists(below, min_size=2, max_size=4).map(lambda each: f"({' || '.join(each)})"),
        below.map("!({})".format),
        st.tuples(below, below, below).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
    )


CONDITIONS = _conditions(2)
"""Text of a condition: most need a guard somewhere, many have one."""

_LONG = st.sampled_from([0, 1, -1, 5, 1000, 2**62, 2**63 - 1, -(2**63)])
_WORDS = st.sampled_from(TEXTS)
_NAMES = st.sampled_from(TEXTS[1:])
_CALL = st.fixed_dictionaries({"id": _WORDS, "name": _WORDS, "arguments": st.just("{}")})
_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "", "é"])},
    optional={
        "content": st.one_of(_WORDS, st.just([{"type": "text", "text": "x"}])),
        "name": _WORDS,
        "tool_calls": st.lists(_CALL, max_size=2),
        "tool_call_id": _WORDS,
    },
)


def _maybe(**fields: st.SearchStrategy) -> st.SearchStrategy[dict]:
    return st.fixed_dictionaries({}, optional=fields)


REQUESTS = st.fixed_dictionaries(
    {
        "id": st.just("r"),
        "tenant": st.just("acme"),
        "llm": st.fixed_dictionaries(
            {"provider": _NAMES, "model": _NAMES, "messages": st.lists(_MESSAGE, max_size=3)},
            optional={
                "max_tokens": _LONG,
                "n": _LONG,
                "temperature": st.sampled_from([0.0, 0.7, -3.5, 1e18, 1e300]),
                "stream": st.booleans(),
                "service_tier": _WORDS,
            },
        ),
    },
    optional={
        "attempt": _LONG,
        "deadline_ms": _LONG,
        "part": _LONG,
        "final": st.booleans(),
        "conversation_id": _WORDS,
        "phase": _WORDS,
        "user": _maybe(id=_WORDS, email=_WORDS, region=_WORDS,
                       roles=st.lists(_WORDS, max_size=3), permissions=st.lists(_WORDS, max_size=3)),
        "team": _maybe(id=_WORDS, tier=_WORDS),
        "project": _maybe(environment=_WORDS),
        "caller": _maybe(ip=_WORDS),
    },
)  # fmt: skip
"""Requests over the declared fields, extremes included."""
