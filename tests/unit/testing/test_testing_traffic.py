"""Traffic from a seed."""

from collections import Counter
from itertools import islice, takewhile

import pytest

from enforcer import detect, events
from enforcer.errors import ConfigError, NotFoundError
from enforcer.testing.trace import Arrival, read_trace
from enforcer.testing.traffic import Mix, traffic

MANY = 3000


@pytest.fixture(scope="module")
def calls():
    """The first calls of one seed."""
    return list(islice(traffic(1), MANY))


def plain(calls):
    return [
        (
            call.at_s,
            events.encode(call.request),
            [(r.after_s, events.encode(r.usage)) for r in call.reports],
        )
        for call in calls
    ]


def test_a_seed_gives_the_same_traffic(calls):
    """The same seed gives the same calls, byte for byte, another seed gives others."""
    some = plain(calls[:200])
    assert plain(islice(traffic(1), 200)) == some
    assert plain(islice(traffic(2), 200)) != some


def test_every_partition_of_a_small_installation_has_traffic(calls):
    """The ready tenants' accounts lie on all four partitions, none with less than a twentieth of the calls."""
    by_team = {"globex": ("tenant", "team.id")}  # As policies/tenants has it.
    partitions = Counter(
        events.partition_of(
            events.account_of(
                call.request.tenant,
                call.request.team.id,
                by_team.get(call.request.tenant, ("tenant",)),
            ).encode(),
            4,
        )
        for call in calls
    )
    assert set(partitions) == set(range(4))
    assert min(partitions.values()) > MANY / 20


def test_no_prompt_and_no_id_repeats(calls):
    """Every request is a call of its own, with a text nobody has asked before."""
    assert len({call.request.id for call in calls}) == MANY
    assert len({detect.prompt(call.request) for call in calls}) == MANY
    tagged = next(traffic(1, tag="run-2"))
    assert tagged.request.id.startswith("run-2-")


def test_arrivals_keep_the_rate_and_come_in_bursts():
    """The mean is the rate that was asked for; the busiest tenths of a second are far above it."""
    times = [
        call.at_s for call in takewhile(lambda call: call.at_s < 100, traffic(3, rate_per_s=40))
    ]
    assert times == sorted(times)
    assert 0.85 < len(times) / 4000 < 1.15
    per_tenth = sorted(Counter(int(at * 10) for at in times).values())
    assert per_tenth[-20] >= 10


def test_all_kinds_of_calls_occur(calls):
    """Chat and code, turns and tools, streams, cards, addresses, long prompts, tenants, unapproved models."""
    requests = [call.request for call in calls]
    assert {request.tenant for request in requests} == {"acme", "globex", "initech", "hooli"}
    assert any(request.llm.tools for request in requests)
    assert any(request.llm.prompt for request in requests)
    assert {request.llm.stream for request in requests} == {True, False}
    assert any(len(request.llm.messages) > 6 for request in requests)
    assert any(message.tool_calls for request in requests for message in request.llm.messages)
    assert any(message.origin == "tool" for request in requests for message in request.llm.messages)
    assert {"gpt-3.5-turbo", "parrot-7b"} <= {request.llm.model for request in requests}
    texts = [detect.prompt(request) for request in requests[:800]]
    kinds = Counter(f.kind for text in texts for f in detect.pii.scan(text[-2000:]))
    assert kinds["credit_card"]
    assert kinds["email"]
    assert max(map(len, (detect.prompt(request) for request in requests))) > 60_000


def test_usage_belongs_to_its_call_and_says_how_it_ended(calls):
    """Reports name their call, come in order, and cover whole, partial, cancelled, failed and none."""
    outcomes = Counter()
    for call in calls:
        request = call.request
        outcomes[len(call.reports)] += 1
        times = [report.after_s for report in call.reports]
        assert times == sorted(times)
        for report in call.reports:
            usage = report.usage
            assert (usage.request_id, usage.tenant) == (request.id, request.tenant)
            assert usage.acted is None
            outcomes[usage.outcome] += 1
            if request.llm.max_tokens is not None and usage.output_tokens is not None:
                assert usage.output_tokens <= request.llm.max_tokens
        if call.reports:
            assert [report.usage.final for report in call.reports[:-1]] == [False] * (
                len(times) - 1
            )
            assert call.reports[-1].usage.final
    assert all(outcomes[kind] for kind in (0, 1, 2, "completed", "cancelled", "failed"))


def test_every_request_can_be_read_in_both_forms(calls):
    """What is made is valid: Avro and JSON give the same request back."""
    for call in calls[:300]:
        request = call.request
        assert events.read_request(events.encode(request)) == request
        assert events.read_request(events.to_json_bytes(request)) == request


def test_a_mix_can_be_changed():
    """Shares and people follow the mix that is given."""
    mix = Mix(users=5000, continued=0.0, coding=0.0, cards=1.0, oversized=0, contacts=0)
    some = [call.request for call in islice(traffic(1, mix=mix), 400)]
    assert not any(request.llm.tools for request in some)
    assert len({request.conversation_id for request in some}) == 400
    assert len({request.user.id for request in some}) > 100
    assert all("The card is" in detect.prompt(request) for request in some)


def test_a_trace_gives_arrivals_and_sizes():
    """Calls come when the trace says, about as long as it says, and answer as long as it says."""
    trace = [Arrival(0.0, 300, 44), Arrival(1.5, 6000, 10)]
    one, two = traffic(1, trace=trace)
    assert (one.at_s, two.at_s) == (0.0, 1.5)
    for call, (_, given, _) in zip((one, two), trace, strict=True):
        counted = detect.tokens.count_request(call.request).tokens
        assert 0.6 < counted / given < 1.6
    assert len(two.request.llm.messages) > 1
    assert {r.usage.output_tokens for c in (one, two) for r in c.reports} <= {44, 22, 10, 5, None}


def test_a_trace_file_is_read_as_published(tmp_path):
    """Times count from the first line; a line that is none is named."""
    path = tmp_path / "trace.csv"
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:15:46.6805900,374,44"]
    lines += ["", "2023-11-16 18:15:50.9951690,396,109"]
    path.write_text("\ufeff" + "\n".join(lines))
    assert list(read_trace(path)) == [Arrival(0.0, 374, 44), Arrival(4.314579, 396, 109)]
    path.write_text("\n".join([*lines, "nonsense"]))
    with pytest.raises(ConfigError, match=":5:"):
        list(read_trace(path))
    path.write_text("a,b\n")
    with pytest.raises(ConfigError, match=":1:"):
        list(read_trace(path))
    with pytest.raises(NotFoundError):
        list(read_trace(tmp_path / "no"))
