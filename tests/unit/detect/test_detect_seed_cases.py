"""
The existing engine's own cases of personal data, tokens and cost: met, or listed with the reason.

The list is exact in both directions: a case that newly differs fails, and so does one that is
listed but no longer differs.
"""

import json
import re
from collections import Counter
from datetime import date
from decimal import Decimal
from operator import ge, gt, le, lt

import pytest

from enforcer.detect import pii, pricing, redact, tokens
from enforcer.events import Llm, Message, Request

DAY = date(2026, 11, 2)
ALL = frozenset(pii.KINDS)

EXACT = "tokens are counted in the model's own vocabulary, not as a quarter of the characters"
ESTIMATE = "an estimate rests on the nearest vocabulary, not on a quarter of the characters"
EMPTY = "the method says how the model is counted, also of a text without tokens"
CONTEXT_SIZE = "no table of models' context sizes: a limit on tokens is a rule of a policy"
NO_PRICE = "what has no price is unknown; a default price would be a guess with real money"
RETIRED = "the price list does not hold the retired model: unknown, not a default"
MOVED = "the price list gives the model that answers to this name today"
LUHN = "a number that fails its check digit is no card, not one of low confidence"
RANGE = "an address with an octet above 255 is none, not one of low confidence"
AREA = "area numbers from 900 on were never issued"
BARE = "ten bare digits are below the default confidence: order numbers look the same"
NEARBY = "words nearby raise the confidence above what the shape alone has"
TEMPLATE = "OpenAI's template: 3 a message and 1 for its role, 3 to open the reply"

# Why a case differs: (method, what its arguments start with as JSON, the reason).
DIFFERENT = (
    ("calculateMaxTokens", "[", CONTEXT_SIZE),
    ("getModelMaxTokens", "[", CONTEXT_SIZE),
    ("detectPII", '["5551234567"]', BARE),
    ("detectPII", '["SSNs: 123-45-6789 and 987-65-4321"]', AREA),
    ("detectPII", '["Card: 4532', LUHN),
    ("detectPII", '["Invalid card: ', LUHN),
    ("detectPII", '["4532015112830367"]', LUHN),
    ("detectPII", '["\\n          Contact: john.doe@example.com', LUHN),
    ("detectPII", '["Invalid: 256.', RANGE),
    ("detectPII", '["256.', RANGE),
    ("detectPII", '["Hello, my name is John Doe"]', NEARBY),
    ("detectPII", '["John Doe"]', NEARBY),
    ("detectPII", '["I live at 123 Main Street"]', NEARBY),
    ("estimateTokens", '["Hello, world!"]', ESTIMATE),
    ("estimateTokens", '[""]', EMPTY),
    ("estimateTokens", '["AAAA', ESTIMATE),
    ("estimateTokens", '["ABC"]', ESTIMATE),
    ("estimateTokens", '["a"]', ESTIMATE),
    ("estimateTokens", '["{', ESTIMATE),
    ("estimateTokens", '["This is a test for Claude"', ESTIMATE),
    ("estimateTokens", '["This is a test prompt for GPT-4', EXACT),
    ("estimateTokens", '["Test prompt"', EXACT),
    ("estimateTokens", '["Hello", "', EXACT),
    ("estimateConversationTokens", "[[]]", ESTIMATE),
    ("estimateConversationTokens", '[[{"role": "user", "content": ""}', TEMPLATE),
    ("calculateCost", '["anthropic", "claude-instant"', RETIRED),
    ("calculateCost", '["google", "gemini-pro"', MOVED),
    ("calculateCost", '["google", "gemini-ultra"', RETIRED),
    ("calculateCost", '["google", "palm-2"', RETIRED),
    ("calculateCost", '["openai", "unknown-model"', NO_PRICE),
    ("calculateCost", '["unknown-provider"', NO_PRICE),
    ("getPricing", '["unknown"', NO_PRICE),
)

Case = dict


def cases(shared_data) -> list[Case]:
    lines = (shared_data / "seed-engine-cases.jsonl").read_text().splitlines()
    return [case for case in map(json.loads, lines) if case["kind"] in ("pii", "tokens", "cost")]


def argument(value):
    """An argument as written, long repetitions spelled out."""
    if isinstance(value, dict) and "$repeat" in value:
        unit, length = value["$repeat"], value["$length"]
        return (unit * (length // len(unit) + 1))[:length]
    return value


def detect_pii(text: str) -> list[dict]:
    names = ((0.8, "high"), (0.5, "medium"), (0.0, "low"))
    return [
        {
            "type": f.kind,
            "value": text[f.start : f.end],
            "start": f.start,
            "end": f.end,
            "confidence": next(name for bound, name in names if f.confidence >= bound),
        }
        for f in pii.scan(text, ALL, at=0.31)
    ]


def redact_by_character(text: str, character: str = "*") -> str:
    for splice in reversed(redact(text, ALL)):
        text = text[: splice.start] + character * (splice.end - splice.start) + text[splice.end :]
    return text


def redact_by_label(text: str) -> str:
    for splice in reversed(redact(text, ALL)):
        text = text[: splice.start] + splice.text + text[splice.end :]
    return text


def estimate_tokens(text: str | None, model: str = "") -> dict:
    counted = tokens.count_text(text or "", model)
    return {
        "tokens": counted.tokens,
        "method": {"exact": "exact", "estimated": "estimate"}[counted.method],
    }


def estimate_conversation(messages: list[dict], model: str = "") -> dict:
    held = [Message(role=message["role"], content=message["content"]) for message in messages]
    llm = Llm(provider="", model=model, messages=held)
    counted = tokens.count_request(Request(id="r", tenant="t", llm=llm))
    return {
        "tokens": counted.tokens,
        "method": {"exact": "exact", "estimated": "estimate"}[counted.method],
    }


def calculate_cost(provider: str, model: str, inputs: int, outputs: int) -> dict:
    rates = pricing.resolve(provider.lower(), model, None, DAY)
    if rates is None:
        raise LookupError(model)
    usd = [
        float(Decimal(rates.cost_usd_nano(input_tokens=i, output_tokens=o)) / 10**9)
        for i, o in ((inputs, 0), (0, outputs), (inputs, outputs))
    ]
    return {
        "provider": provider,
        "model": model,
        "currency": "USD",
        "promptTokens": inputs,
        "completionTokens": outputs,
        "totalTokens": inputs + outputs,
        "promptCost": usd[0],
        "completionCost": usd[1],
        "totalCost": usd[2],
    }


def cost_of_text(provider: str, model: str, text: str, outputs: int = 500) -> dict:
    return calculate_cost(provider, model, tokens.count_text(text, model).tokens, outputs)


def get_pricing(provider: str, model: str) -> dict:
    cost = calculate_cost(provider, model, 1000, 1000)
    return {
        "promptCostPer1kTokens": cost["promptCost"],
        "completionCostPer1kTokens": cost["completionCost"],
        "currency": "USD",
    }


def compare(inputs: int, outputs: int, models: list[dict]) -> list[dict]:
    return [calculate_cost(m["provider"], m["model"], inputs, outputs) for m in models]


def cheapest(inputs: int, outputs: int, models: list[dict]) -> dict:
    return min(compare(inputs, outputs, models), key=lambda cost: cost["totalCost"])


def monthly(provider: str, model: str, requests: int, inputs: int, outputs: int) -> float:
    return 30 * requests * calculate_cost(provider, model, inputs, outputs)["totalCost"]


METHODS = {
    "detectPII": detect_pii,
    "containsPII": lambda text: bool(pii.scan(text)),
    "redactPII": redact_by_character,
    "redactPIIWithLabels": redact_by_label,
    "estimateTokens": estimate_tokens,
    "estimateConversationTokens": estimate_conversation,
    "calculateCost": calculate_cost,
    "estimateCostFromText": cost_of_text,
    "getPricing": get_pricing,
    "compareCosts": compare,
    "findCheapest": cheapest,
    "calculateMonthlyCost": monthly,
}
STEP = re.compile(r"\[type=(\w+)\]|\[(\d+)\]|\.?(\w+)")


def follow(value, path: str):
    """The part of a result that a path like ``[type=email][0].value`` names."""
    for kind, index, name in STEP.findall(path):
        if kind:
            value = [item for item in value if item["type"] == kind]
        elif index:
            value = value[int(index)]
        elif name == "length" and not isinstance(value, dict):
            value = len(value)
        else:
            value = value[name]
    return value


COMPARISONS = {
    "toBeGreaterThan": gt,
    "toBeGreaterThanOrEqual": ge,
    "toBeLessThan": lt,
    "toBeLessThanOrEqual": le,
    "toContain": lambda value, part: part in value,
    "not.toContain": lambda value, part: part not in value,
    "toBeCloseTo": lambda value, near, digits: abs(value - near) < 10**-digits / 2,
    "defined": lambda value: value is not None,
}


def met(case: Case) -> bool:
    """Whether this project answers as the case expects."""
    try:
        result = METHODS[case["method"]](*[argument(value) for value in case["args"]])
        for path, expected in (case.get("expected") or {}).items():
            found = follow(result, path)
            same = (
                found == pytest.approx(expected)
                if isinstance(expected, float)
                else found == expected
            )
            if not same:
                return False
        return all(
            COMPARISONS[other["op"]](follow(result, other["path"]), *other.get("args", []))
            for other in case.get("expected_other") or []
        )
    except (KeyError, IndexError, LookupError):
        return False


def reasons(case: Case) -> list[int]:
    """Which lines of the list a case falls under."""
    arguments = json.dumps(case["args"])
    return [
        index
        for index, (method, start, _) in enumerate(DIFFERENT)
        if case["method"] == method and arguments.startswith(start)
    ]


def test_the_existing_engines_cases_are_met_or_listed(shared_data):
    """
    Every case is met, or is listed with the reason for which it differs; no line of the list is idle.
    """
    used: Counter[int] = Counter()
    unlisted = []
    total = 0
    for case in cases(shared_data):
        total += 1
        if met(case):
            continue
        lines = reasons(case)
        used.update(lines)
        if len(lines) != 1:
            unlisted.append((case["method"], case["args"], lines))
    assert unlisted == []
    assert sorted(used) == list(range(len(DIFFERENT)))
    assert total - sum(used.values()) >= 100
