"""The guard: a model's stream, redacted while it comes."""

from __future__ import annotations

import re

import pytest

from enforcer import events
from enforcer.client import Outcome, guard
from enforcer.detect import DetectError, RedactionKeys, redact


class Stream:
    def __init__(self, chunks, error: Exception | None = None) -> None:
        self.chunks, self.error, self.closed = chunks, error, False

    async def __aiter__(self):
        for chunk in self.chunks:
            yield chunk
        if self.error is not None:
            raise self.error

    async def aclose(self) -> None:
        self.closed = True


async def test_a_stream_is_redacted_while_it_comes():
    """What is found leaves as a label, the rest as it is, and the stream is closed at the end."""
    stream = Stream(["My mail is some", "one@exa", "mple.com and ", "so we go ", "on."])
    pieces = [piece async for piece in guard(stream)]
    assert "".join(pieces) == "My mail is [EMAIL_REDACTED] and so we go on."
    assert len(pieces) > 1
    assert all(pieces)
    assert stream.closed


async def test_what_was_held_back_does_not_leave_after_an_error():
    """A stream that breaks ends with its error, and what was held back stays here."""
    stream = Stream(["write to someone@example.co"], ConnectionError("gone"))
    pieces = []
    with pytest.raises(ConnectionError):  # noqa: PT012 — what came before the error is the point
        async for piece in guard(stream):
            pieces.append(piece)  # noqa: PERF401 — as above
    assert "someone" not in "".join(pieces)
    assert stream.closed


async def test_a_style_without_its_key_ends_the_stream():
    """A hash without a key is an error, not a leak."""
    with pytest.raises(DetectError) as caught:
        _ = [piece async for piece in guard(Stream(["mail a@b.com ok"]), style="hash")]
    assert caught.value.code == "no_key"


def outcome(*texts: str, facts: events.Facts | None = None) -> Outcome:
    edits = [events.Edit("splice", "/llm/messages/0/content", text=text) for text in texts]
    decision = events.Decision(
        id="d",
        request_id="r",
        attempt=0,
        tenant="acme",
        account="acme",
        verdict="modify" if texts else "allow",
        http_status=200,
        reasons=[],
        edits=edits,
        policy_digest="",
        data_digest="",
        engine="test",
        source=events.Source("requests", 0, 0, 0, 0, 0),
        time_us=1,
        facts=facts or events.Facts(),
    )
    return Outcome(decision.verdict, decision.verdict, "", decision, {}, 1.0, False, "")


@pytest.mark.parametrize(
    ("splices", "left"),
    [
        ([], "mail a@b.com, or see https://x.org/a now"),
        (["[EMAIL_REDACTED]"], "mail [EMAIL_REDACTED], or see https://x.org/a now"),
        (["[URL_REDACTED]"], "mail [EMAIL_REDACTED], or see [URL_REDACTED] now"),
        (["[EMAIL_HASH_abcd]"], "mail [EMAIL_REDACTED], or see https://x.org/a now"),
        (["*****"], "mail *******, or see https://x.org/a now"),
        ([""], "mail , or see https://x.org/a now"),
    ],
)
async def test_a_decision_that_redacts_the_question_guards_the_answer(splices, left):
    """Kinds and style come from the decision's splices; without any the stream passes as it is."""
    stream = Stream(["mail a@b", ".com, or see ", "https://x.org/a now"])
    assert "".join([piece async for piece in outcome(*splices).guard(stream)]) == left


@pytest.mark.parametrize(
    ("facts", "left"),
    [
        (events.Facts(), "ask John Smith, key AKIA{}"),
        (events.Facts(pii={"name": 1}), "ask **********, key AKIA{}"),
        (events.Facts(secrets={"jwt": 1}), "ask John Smith, key ********"),
    ],
)
async def test_what_was_counted_in_the_question_is_looked_for_in_the_answer(facts, left):
    """Masks name no kind: those that the decision counted are redacted, and all secrets where one was."""
    mark = "QWERTYUIOPASDFGH"
    stream = Stream(["ask John Sm", f"ith, key AKIA{mark}"])
    text = "".join([piece async for piece in outcome("****", facts=facts).guard(stream)])
    assert re.sub(r"\*+", "*", text) == re.sub(r"\*+", "*", left.format(mark))


@pytest.mark.parametrize("style", ["hash", "pseudonym"])
async def test_hashes_and_pseudonyms_are_those_of_the_question(style):
    """With the conversation's keys a value is written in the answer as it was in the question; without, as a label."""
    keys = RedactionKeys.derived(b"k" * 32, "acme/c1")
    (splice,) = redact("a@b.com", {"email"}, style, keys=keys)
    held = outcome(splice.text)
    assert (
        "".join([p async for p in held.guard(Stream(["to a@b.com ok"]), keys)])
        == f"to {splice.text} ok"
    )
    assert (
        "".join([p async for p in held.guard(Stream(["to a@b.com ok"]))])
        == "to [EMAIL_REDACTED] ok"
    )
