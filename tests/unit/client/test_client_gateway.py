"""The gateway against a broker in memory."""

import asyncio
import json
from hashlib import sha256

import pytest

from enforcer import events
from enforcer.client import Gateway
from enforcer.errors import AuthError, NotFoundError, RequestError, UnavailableError

PREFIX = "t"


def request(number=1, tenant="acme", team=None, **fields):
    return events.Request(
        f"r{number}",
        tenant,
        user=events.User("u1"),
        team=events.Team(team),
        llm=events.Llm("openai", "gpt-4o", messages=[events.Message("user", content="Hello Bob")]),
        **fields,
    )


def as_json(number=1, **fields):
    llm = {"provider": "openai", "model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
    return {"id": f"r{number}", "tenant": "acme", "llm": llm, **fields}


def gateway(broker, **more):
    return Gateway(broker, prefix=PREFIX, **more)


async def test_the_first_verdict_decides(broker):
    """The outcome is the first verdict for the call; what comes after it is dropped and counted."""
    async with gateway(broker) as client:
        broker.answer_all(code="OK-1")
        outcome = await client.decide(request(), 1000)
        assert (outcome.verdict, outcome.acted, outcome.code) == ("allow", "allow", "OK-1")
        assert outcome.allowed
        assert not outcome.by_timeout
        assert outcome.latency_ms > 0
        (record,) = (
            broker.logs[f"{PREFIX}.requests", 1]
            or broker.logs[f"{PREFIX}.requests", 0]
            or (broker.logs[f"{PREFIX}.requests", 2])
        )
        broker.answer(record, verdict="deny")
        await asyncio.sleep(0.01)
        assert client.stats.late == 1
        assert client.stats.verdicts == {"allow": 1, "warn": 0, "modify": 0, "deny": 0}
        assert client.in_flight == 0


async def test_after_a_repartition_a_call_that_went_astray_makes_the_gateway_look(broker):
    """The next calls go where their account belongs now, and verdicts are heard from there; so do late reports."""
    tenant = next(
        name
        for name in (f"acme{n}" for n in range(99))
        if events.partition_of(name.encode(), 7) >= 3
    )
    async with gateway(broker) as client:
        broker.answer_all()
        assert (await client.decide(request(1, tenant), 1000)).verdict == "allow"
        broker.count = 7
        broker.answer_all(verdict="deny", code="misrouted")
        assert (await client.decide(request(2, tenant), 1000)).code == "misrouted"
        broker.answer_all()
        await asyncio.sleep(0.05)
        assert (await client.decide(request(3, tenant), 1000)).verdict == "allow"
        await client.report({"request_id": "r1", "tenant": tenant, "output_tokens": 1})
        await asyncio.sleep(0.05)
    now = events.partition_of(tenant.encode(), 7)
    assert [len(broker.logs[f"{PREFIX}.requests", p]) for p in range(3, 7)].count(1) == 1
    assert len(broker.logs[f"{PREFIX}.requests", now]) == 1
    assert len(broker.logs[f"{PREFIX}.usage", now]) == 1


@pytest.mark.parametrize(
    ("verdict", "acted", "allowed"),
    [("allow", "allow", True), ("warn", "allow", True), ("deny", "deny", False)],
)
async def test_verdicts_are_acted_upon(broker, verdict, acted, allowed):
    """A warning lets the call go, a deny does not."""
    async with gateway(broker) as client:
        broker.answer_all(verdict=verdict)
        outcome = await client.decide(request(), 1000)
        assert (outcome.verdict, outcome.acted, outcome.allowed) == (verdict, acted, allowed)


@pytest.mark.parametrize("form", [request, as_json])
async def test_edits_are_applied_to_what_was_given(broker, form):
    """A modified request comes back in the form it was given in; the caller's own is unchanged."""
    given = form()
    before = json.dumps(given) if isinstance(given, dict) else events.encode(given)
    edit = events.Edit("replace", "/llm/model", value='"gpt-4o-mini"')
    async with gateway(broker) as client:
        broker.answer_all(verdict="modify", edits=[edit])
        outcome = await client.decide(given, 1000)
    assert outcome.acted == "modify"
    edited = outcome.request
    model = edited["llm"]["model"] if isinstance(edited, dict) else edited.llm.model
    assert model == "gpt-4o-mini"
    assert type(edited) is type(given)
    assert before == (json.dumps(given) if isinstance(given, dict) else events.encode(given))


async def test_edits_that_do_not_fit_are_a_deny(broker):
    """A redaction made for another text never sends the text unredacted."""
    digest = sha256(b"another text").hexdigest()
    edit = events.Edit("splice", "/llm/messages/0/content", start=0, end=1, text="", sha256=digest)
    async with gateway(broker) as client:
        broker.answer_all(verdict="modify", edits=[edit])
        outcome = await client.decide(request(), 1000)
    assert (outcome.verdict, outcome.acted, outcome.code) == ("deny", "deny", "edit_failed")
    assert not outcome.allowed


async def test_a_deadline_denies_unless_the_tenant_says_otherwise(broker):
    """At the deadline ``on_timeout`` decides, and the bypass is reported as usage."""
    broker.put_policies(("Tenant", "acme", {}))
    broker.put_policies(("Tenant", "globex", {"on_timeout": "allow"}), scope="globex")
    async with gateway(broker) as client:
        denied = await client.decide(request(), 10)
        allowed = await client.decide(request(tenant="globex"), 10)
        unknown = await client.decide(request(tenant="nobody"), 10)
        await asyncio.sleep(0.01)
        assert (denied.acted, denied.allowed, denied.code) == ("timeout_deny", False, "timeout")
        assert (allowed.acted, allowed.allowed) == ("timeout_allow", True)
        assert unknown.acted == "timeout_deny"
        assert denied.decision is None
        assert denied.by_timeout
        assert client.stats.bypass_rate == 1.0
        assert client.stats.timeouts == {"allow": 1, "deny": 2}
        told = {usage.tenant: usage for usage in map(events.read_usage, broker.values("usage"))}
    assert {name: usage.acted for name, usage in told.items()} == {
        "acme": "timeout_deny",
        "globex": "timeout_allow",
        "nobody": "timeout_deny",
    }
    # A call that was not made is over; one that was goes on until its usage is reported.
    assert (told["acme"].final, told["acme"].outcome) == (True, "failed")
    assert not told["globex"].final


async def test_a_late_verdict_changes_nothing(broker):
    """A verdict after the deadline is dropped: the gateway has acted already."""
    async with gateway(broker) as client:
        seen = []
        broker.on_append = seen.append
        outcome = await client.decide(request(), 10)
        broker.on_append = None
        broker.answer(seen[0])
        await asyncio.sleep(0.01)
        assert outcome.acted == "timeout_deny"
        assert client.stats.late == 1


async def test_records_of_others_are_dropped_by_their_header(broker):
    """Verdicts of another gateway for the same call, claims and damaged records are no verdicts."""
    async with gateway(broker, gateway_id="ours") as client:

        def on_append(record):
            if record.topic == f"{PREFIX}.requests":
                claim = events.Claim(partition=0, epoch=1, owner="a", starts=1)
                place = (f"{PREFIX}.decisions", record.partition)
                ours = (("gateway", b"ours"),)
                broker.append(*place, (b"k", b"no decision at all", (("gateway", b"x"),), None))
                broker.append(*place, (b"k", events.encode(claim), (), None))
                broker.append(*place, (b"k", events.encode(claim), ours, None))
                broker.append(*place, (b"k", b"damaged", ours, None))
                broker.append(*place, (b"k", None, ours, None))
                broker.answer(record, verdict="deny")

        broker.on_append = on_append
        outcome = await client.decide(request(), 1000)
        assert outcome.verdict == "deny"
        assert client.stats.unreadable == 1
        assert client.stats.foreign == 2


async def test_the_request_goes_to_the_account_of_its_tenant(broker):
    """Key and partition are the account's, as the tenant's document names it, followed live."""
    async with gateway(broker, gateway_id="g") as client:
        broker.answer_all()
        await client.decide(request(1, team="t1"), 1000, traceparent="00-" + "a" * 51 + "0")
        broker.put_policies(("Tenant", "acme", {"account": ["tenant", "team.id"]}))
        await asyncio.sleep(0.01)
        await client.decide(as_json(2, team={"id": "t1"}), 1000)
        await client.report({"request_id": "r2", "tenant": "acme", "output_tokens": 5})
        await client.report({"request_id": "r9", "tenant": "acme", "team": "t1"})
        await asyncio.sleep(0.01)
    records = [record for log in broker.logs.values() for record in log]
    requests = {events.read_request(r.value).id: r for r in records if r.topic.endswith("requests")}
    assert requests["r1"].key == b"acme"
    assert requests["r2"].key == b"acme/t1"
    for record in requests.values():
        assert record.partition == events.partition_of(record.key, 3)
        headers = dict(record.headers)
        assert headers["gateway"] == b"g"
        assert len(headers["traceparent"]) == 55
    assert dict(requests["r1"].headers)["traceparent"] == b"00-" + b"a" * 51 + b"0"
    usage = [r for r in records if r.topic.endswith("usage")]
    assert {record.key for record in usage} == {b"acme/t1"}


async def test_the_deadline_travels_and_the_request_stays_as_it_is(broker):
    """The agent learns the deadline; the caller's object is not written to."""
    async with gateway(broker) as client:
        broker.answer_all()
        given = request(1)
        await client.decide(given, 700)
        assert given.deadline_ms is None
        await client.decide(request(2, deadline_ms=300))
        await client.decide(as_json(3))
    sent = {r.id: r.deadline_ms for r in map(events.read_request, broker.values("requests"))}
    assert sent == {"r1": 700, "r2": 300, "r3": 2000}


async def test_a_report_says_what_was_done(broker):
    """Acted and who asked are filled in from the outcome; what the report says itself stands."""
    async with gateway(broker) as client:
        broker.answer_all(verdict="warn")
        await client.decide(request(team="t1"), 1000)
        usage = events.Usage("r1", "acme", output_tokens=7)
        await client.report(usage)
        await client.report(
            {"request_id": "r1", "tenant": "acme", "user": "other", "acted": "deny"}
        )
        await asyncio.sleep(0.01)
        assert usage.acted is None
        assert client.stats.usage_reports == 2
    first, second = map(events.read_usage, broker.values("usage"))
    assert (first.acted, first.user, first.team, first.output_tokens) == ("allow", "u1", "t1", 7)
    assert (second.acted, second.user) == ("deny", "other")


async def test_an_abandoned_call_gives_back_what_it_reserves(broker):
    """A caller that is cancelled leaves no call and no reservation behind."""
    async with gateway(broker) as client:
        task = asyncio.ensure_future(client.decide(request(), 5000))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.in_flight == 0
        await asyncio.sleep(0.01)
    (usage,) = map(events.read_usage, broker.values("usage"))
    assert (usage.final, usage.outcome, usage.acted) == (True, "failed", None)


async def test_what_cannot_be_sent_is_refused_at_once(broker):
    """Too large, too many, twice at once, without a name or with a wrong deadline: a clear code."""
    async with gateway(broker, calls_max=2) as client:
        waiting = asyncio.ensure_future(client.decide(request(1), 2000))
        await asyncio.sleep(0)
        big = request(2)
        big.llm.prompt = "x" * (4 * 1024 * 1024)
        for bad, code in (
            (big, "too_large"),
            (request(1), "in_flight"),
            ({"tenant": "acme"}, "invalid_request"),
            ({**as_json(3), "attempt": "1"}, "invalid_request"),
            ({**as_json(3), "x": object()}, "invalid_request"),
            ({**as_json(3), "deadline_ms": 0}, "invalid_request"),
        ):
            with pytest.raises(RequestError) as caught:
                await client.decide(bad)
            assert caught.value.code == code
        other = asyncio.ensure_future(client.decide(request(4), 2000))
        await asyncio.sleep(0)
        with pytest.raises(RequestError) as caught:
            await client.decide(request(5))
        assert caught.value.code == "too_many_calls"
        await client.close()
        for task in (waiting, other):
            with pytest.raises(UnavailableError):
                await task
        with pytest.raises(UnavailableError):
            await client.decide(request(6))
        with pytest.raises(UnavailableError):
            await client.report({"request_id": "r", "tenant": "acme"})


async def test_a_lost_producer_is_replaced_and_the_call_sent_again(broker):
    """A send of unknown fate is repeated through a new producer; the call still gets its verdict."""
    async with gateway(broker) as client:
        broker.losing = True
        call = asyncio.ensure_future(client.decide(request(), 5000))
        await client.report({"request_id": "x", "tenant": "acme", "final": True})
        await client.report({"request_id": "x", "tenant": "acme", "final": False})
        await asyncio.sleep(0.01)
        broker.losing = False
        broker.answer_all()
        outcome = await call
        assert outcome.verdict == "allow"
        assert client.stats.reconnects >= 1
    assert len(broker.values("requests")) >= 2
    # A partial report adds, so it is not repeated; a final one may be.
    assert [u.final for u in map(events.read_usage, broker.values("usage"))].count(False) == 1


async def test_a_broker_that_is_away_costs_deadlines_and_no_more(broker):
    """While it is away calls end by their deadlines; when it is back, calls work and reports arrive."""
    async with gateway(broker) as client:
        broker.down = True
        broker.appended.set()  # Wakes the reader, which finds it gone.
        outcome = await client.decide(request(1), 50)
        assert outcome.acted == "timeout_deny"
        await client.report({"request_id": "r0", "tenant": "acme"})
        broker.down = False
        broker.answer_all()
        outcome = await client.decide(request(2), 5000)
        assert outcome.verdict == "allow"
        await asyncio.sleep(0.05)
    sent = [r.id for r in map(events.read_request, broker.values("requests"))]
    assert sent == ["r2"], "what nobody waits for any more is not sent"
    reported = {usage.request_id for usage in map(events.read_usage, broker.values("usage"))}
    assert reported >= {"r0", "r1"}


async def test_a_full_queue_delays_and_loses_nothing(broker):
    """What the producer has no room for is offered again, without a new producer."""
    async with gateway(broker) as client:
        broker.full = True
        broker.answer_all()
        call = asyncio.ensure_future(client.decide(request(), 5000))
        await client.report({"request_id": "x", "tenant": "acme"})
        await asyncio.sleep(0.03)
        broker.full = False
        assert (await call).verdict == "allow"
        assert client.stats.reconnects == 0
        assert broker.producers == 1
    assert len(broker.values("usage")) == 1


async def test_reports_that_cannot_leave_are_bounded(broker, monkeypatch):
    """A broker away for long costs reports in the end, and says so; nothing grows without bound."""
    monkeypatch.setattr("enforcer.client.gateway.REPORTS_MAX", 2)
    async with gateway(broker) as client:
        broker.full = True
        for number in range(2):
            await client.report({"request_id": f"r{number}", "tenant": "acme"})
        with pytest.raises(UnavailableError) as caught:
            await client.report({"request_id": "r3", "tenant": "acme"})
        assert caught.value.code == "backlog"
        # The bypass of a deadline is lost then, the outcome is not.
        assert (await client.decide(request(), 10)).acted == "timeout_deny"
        broker.full = False


async def test_a_start_that_fails_leaves_nothing_open(broker):
    """A broker that is away at the start is told, and the gateway can be closed all the same."""
    broker.down = True
    client = gateway(broker)
    with pytest.raises(UnavailableError):
        await client.start()
    await client.close()


async def test_a_refused_principal_is_told(broker):
    """What the broker will never take is raised, not waited for."""
    async with gateway(broker) as client:
        broker.refusing = AuthError("not you")
        with pytest.raises(AuthError):
            await client.decide(request(), 5000)
        assert client.in_flight == 0


async def test_missing_topics_are_told_at_the_start(broker):
    """Without topics there is no gateway."""
    broker.missing.add(f"{PREFIX}.requests")
    with pytest.raises(NotFoundError):
        await gateway(broker).start()


async def test_calls_of_one_turn_travel_together(broker):
    """A thousand calls at once are at most one send a partition, and all get their verdicts."""
    async with gateway(broker) as client:
        broker.answer_all()
        outcomes = await asyncio.gather(*(client.decide(as_json(n), 5000) for n in range(1000)))
        assert {outcome.verdict for outcome in outcomes} == {"allow"}
        assert broker.sends <= 3
