"""The load of a soak, what it is judged by, and the page."""

from __future__ import annotations

import time

import pytest

from enforcer import events, policy
from enforcer.bench import soak, soak_load, workload
from enforcer.bench.page import page_of, plotted
from enforcer.broker import topics


@pytest.fixture(scope="module")
def held() -> list[soak_load.Template]:
    return soak_load.templates(8)


def test_a_template_is_a_request_whose_mark_is_its_id_and_part_of_its_text(
    held: list[soak_load.Template],
) -> None:
    """So that no two calls have the same id or the same newest text, and none is encoded twice."""
    for template in held:
        mark = soak_load.mark_of(41)
        request = events.decode_request(template.request.replace(soak_load.MARK.encode(), mark))
        usage = events.decode_usage(template.usage.replace(soak_load.MARK.encode(), mark))
        newest = request.llm.messages[-1].content

        assert request.id == usage.request_id == mark.decode()
        assert isinstance(newest, str)
        assert mark.decode() in newest
        assert usage.tenant == request.tenant
        assert template.key == request.tenant.encode()


def test_templates_have_conversations_of_several_lengths(held: list[soak_load.Template]) -> None:
    """What is remembered of turns that came before is part of what might grow."""
    lengths = {len(events.decode_request(each.request).llm.messages) for each in held}

    assert lengths == {1, 3, 5}


def test_of_several_verdicts_the_first_counts_and_a_report_follows_it() -> None:
    """Told twice is counted apart; of a call that ran, a report is due a second later."""
    load = soak_load.Load({"prefix": "p", "rate": 100.0, "users": 320})
    ((_, record),) = load._calls(1, time.perf_counter())
    (more,) = load._calls(2, time.perf_counter())
    assert record[1] != more[1][1]
    now_s = time.perf_counter()
    for serial in (0, 1, 1):
        load.decided(_decision(soak_load.mark_of(serial).decode(), "allow"), now_s)

    assert (load.counts.decided, load.counts.again, load.open) == (2, 1, 0)
    assert list(load._reports(now_s + 0.5)) == []
    ((_, usage),) = load._reports(now_s + 1.5)
    assert events.decode_usage(usage[1]).request_id == soak_load.mark_of(1).decode()


def test_calls_are_of_all_users_and_each_user_has_one_tenant() -> None:
    """So many rows there are in the end, and who fills a table beforehand knows whose they are."""
    load = soak_load.Load({"prefix": "p", "rate": 100.0, "users": 320})
    found = {}
    for _, (key, value, _, _) in load._calls(640, 0.0):
        request = events.decode_request(value or b"")
        assert request.user is not None
        assert found.setdefault(request.user.id, key) == key

    assert sorted(found) == [soak_load.user_of(n).decode() for n in range(320)]
    tenants = [name for name, _ in workload.tenants()]
    assert all(tenants[int(user[-7:]) % 16].encode() == key for user, key in found.items())


def test_a_call_that_is_denied_gets_no_report() -> None:
    """It did not run."""
    load = soak_load.Load({"prefix": "p", "rate": 100.0, "users": 320})
    list(load._calls(2, 0.0))
    load.decided(_decision(soak_load.mark_of(1).decode(), "deny"), 0.0)

    assert load.counts.decided == 1
    assert list(load._reports(9e9)) == []


def test_calls_are_held_back_when_too_many_have_no_verdict() -> None:
    """A worker that has stopped does not fill the memory of who measures it."""
    load = soak_load.Load({"prefix": "p", "rate": 10.0, "users": 320})
    made = list(load._calls(1_000, 0.0))

    assert len(made) == load.open == 10 * soak_load.OPEN_S_MAX
    assert load.counts.held_back == 1_000 - len(made)


def test_every_topic_that_grows_with_calls_is_bounded() -> None:
    """By bytes, in segments small enough that the bound shows; what is kept for ever stays as it is."""
    bounded = {spec.name: spec.config for spec in soak.bounded(topics.load_specs(), 1_000)}

    for name in ("requests", "usage", "decisions", "audit", "calls"):
        assert int(bounded[name]["retention.bytes"]) >= int(bounded[name]["segment.bytes"])
    assert int(bounded["state"]["segment.bytes"]) < 2**21
    assert "retention.bytes" not in bounded["policies"]


def test_policies_of_a_soak_check_and_each_change_is_another() -> None:
    """A tenant's calls end within minutes."""
    assert any("reservation_ttl" in str(d.to_record()) for d in soak.documents())
    digests = {str(soak.changed(n)[0].to_record()) for n in range(3)}

    assert len(digests) == 3
    assert all(isinstance(d, policy.Document) for d in soak.changed(1))


def test_every_series_that_is_judged_has_a_bound() -> None:
    """And the page and the figures show just these."""
    assert tuple(soak.bounds(1_000)) == soak.JUDGED


def test_the_page_shows_what_grows_and_why_the_rest_is_not_judged() -> None:
    """One self-contained page; what the answer lacks is said and breaks nothing."""
    answer = {
        "machine": {"minutes": 30.0, "calls_per_s": 1_000.0},
        "verdict": "growth",
        "calls": {"decided": 12},
        "faults": {"lost": 3},
        "samples": {"at_s": [0.0, 5.0, 10.0], "a": [1.0, 2.0, 9.0], "b": [1.0, None, 1.0]},
        "series": {
            "a": {"median": 2.0, "growth": 7.0, "allowed": 1.0, "grows": True},
            "b": {"median": 1.0, "growth": 0.0, "allowed": 1.0, "grows": None, "why": "<short>"},
            "c": {"grows": None, "why": "never seen"},
        },
    }
    page = page_of(answer)

    assert page.count("<polyline") == 2
    assert "<h2 class=grows>a</h2>" in page
    assert "&lt;short&gt;" in page
    assert "lost: 3" in page
    assert "http" not in page


def test_a_plot_begins_at_zero_and_ends_at_its_largest_value() -> None:
    """So that a line that rises by a hundredth looks flat."""
    assert "points='0.0,70.0 720.0,20.0'" in plotted([0.0, 10.0], [5.0, 10.0])
    assert "Too short" in plotted([0.0], [1.0])


def _decision(request_id: str, verdict: str) -> bytes:
    return events.encode_decision(
        events.Decision(
            "d",
            request_id,
            1,
            "t",
            "t",
            verdict,
            200,
            [],
            policy_digest="p",
            data_digest="d",
            engine="e",
            source=events.Source("requests", 0, 0, 0, 0, 0),
            time_us=0,
        )
    )
