"""The policy table: sets come into force whole, or not at all; before and after a restart alike."""

import asyncio
import gc
import itertools
import weakref

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_desk import ACME, Cluster, deny_word, document_of, documents_of, set_of, until

from enforcer import events, policy
from enforcer.engine import Arrival, Engine
from enforcer.errors import UnavailableError
from enforcer.state import ExpiryQueue, MemoryRows
from enforcer.stream import policies, policy_follower
from enforcer.stream.policies import PolicyTable
from enforcer.stream.policy_follower import PolicyFollower

A, B, C = (documents_of(deny_word(word))[0] for word in ("one", "two", "three"))
TENANT = documents_of(ACME)[0]


def fed(*records, table=None):
    """A table that has read *records*, by offset."""
    table = table or PolicyTable()
    for key, value in records:
        table.apply(table.offset, key, value)
    return table


def doc(document):
    return document_of(document)


def gone(document):
    return document_of(document)[0], None


def the_set(*documents, scope="*", **kwargs):
    return set_of(scope, documents, **kwargs)


def state(table, scope="*"):
    """``none``, ``invalid``, or the digest in force."""
    found = [each for each in table.sets() if each.scope == scope]
    if not found:
        return "none"
    return "invalid" if found[0].invalid else found[0].digest


def digest(*documents):
    return policy.set_digest([each.digest for each in documents])


def test_nothing_keeps_a_program_that_is_out_of_force():
    """
    With no collector at work, for a worker's looks at the whole heap as good as never.

    A program that was decided by goes, function, facts it looked for, cells of its users and all, when the next set comes.
    """
    rule = "{operator: contains, field: pii.types, value: email}"
    text = (
        "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: p}\nspec:\n  rules:\n"
        f"    - {{id: mail, condition: {rule}, then: deny, code: A-1, reason: R}}\n"
        "  budgets:\n    - {id: day, key: user.id, per: day, limit_usd: 5}\n"
    )
    own = policy.load([("p.yaml", text)]).documents
    table = fed(doc(TENANT), the_set(TENANT, scope="acme"), *map(doc, own), the_set(*own))
    engine, rows, queue = Engine(), MemoryRows(), ExpiryQueue()
    llm = events.Llm("openai", "gpt-4o", messages=[events.Message("user", content="hello")])
    value = events.encode_request(events.Request("r1", "acme", user=events.User("u"), llm=llm))
    source = events.Source("requests", 0, 0, 0, 0, 0)
    (ahead,) = engine.foresight.look_ahead(table.program, [value], 1_794_830_400_000_000)
    arrival = Arrival(None, value, source, 1_794_830_400_000_000, 0, 0, ahead=ahead)
    gc.disable()
    try:
        assert engine.request(table.program, arrival, rows, queue).verdict == "allow"
        (decide,) = table.program("acme").made.values()
        held = weakref.ref(decide)
        del decide, ahead, arrival
        assert held() is not None
        table.apply(table.offset, *doc(A))
        table.apply(table.offset, *the_set(A))

        assert held() is None
    finally:
        gc.enable()


# -- into force -----------------------------------------------------------------------------------------------------


def test_a_set_comes_into_force_with_all_its_documents():
    """One record puts a whole set in force, and says under which offset."""
    table = fed(doc(A), doc(B))
    assert table.sets() == []
    (change,) = table.apply(2, *the_set(A, B))
    assert (change.scope, change.digest, change.offset, change.invalid) == (
        "*", digest(A, B), 2, "",
    )  # fmt: skip
    assert table.offset == 3
    assert table.sets() == [change]


def test_documents_alone_change_nothing():
    """A document that no set names is not in force."""
    table = fed(doc(A), the_set(A))
    before = table.program("acme")
    assert table.apply(2, *doc(B)) == []
    assert table.program("acme") is before


def test_half_a_set_is_never_in_force():
    """A set whose documents have not come leaves the one before it in force, until the last has come."""
    table = fed(doc(A), the_set(A), the_set(B, C))
    assert state(table) == digest(A)
    table.apply(3, *doc(C))
    assert state(table) == digest(A)
    (change,) = table.apply(4, *doc(B))
    assert (state(table), change.offset) == (digest(B, C), 4)


def test_a_set_without_documents_and_without_a_predecessor_denies():
    """Where nothing was in force before, a set that is not whole denies its scope until it is."""
    table = fed(the_set(A))
    assert state(table) == "invalid"
    table.apply(1, *doc(A))
    assert state(table) == digest(A)


def test_a_newer_set_replaces_one_that_waits():
    """Only the newest set of a scope may come into force."""
    table = fed(doc(A), the_set(A), the_set(B), doc(C), the_set(C))
    assert state(table) == digest(C)
    table.apply(5, *doc(B))
    assert state(table) == digest(C)


# -- what does not check ----------------------------------------------------------------------------------------------


BROKEN_DOCUMENT = (doc(A)[0], b"\xc3\x01no document")
BROKEN_SET = (b"*/set", b"no set")


@pytest.mark.parametrize(
    "records",
    [
        [doc(A), BROKEN_SET],
        [BROKEN_DOCUMENT, the_set(A)],
        [(doc(A)[0], doc(B)[1]), the_set(A)],
        [doc(A), the_set(A, digest=digest(B))],
        [doc(A), the_set(A), gone(A)],
        [doc(A), the_set(A), BROKEN_DOCUMENT],
        [doc(A), the_set(A), BROKEN_SET],
        [(b"acme" + doc(A)[0][1:], doc(A)[1]), the_set(A, scope="acme")],
    ],
    ids=[
        "set unreadable", "document unreadable", "another document's digest", "another set's digest",
        "document taken away", "document damaged", "set damaged", "another scope's document",
    ],
)  # fmt: skip
def test_what_does_not_check_denies_its_scope(records):
    """A set that cannot be trusted denies everything of its scope; what was before is not kept."""
    table = fed(*records)
    scope = "acme" if records[-1][0].startswith(b"acme/") else "*"
    assert state(table, scope) == "invalid"
    assert table.program("acme").invalid
    assert orjson.loads(table.sets()[0].payload())["invalid"]


def test_a_document_belongs_to_the_scope_it_names():
    """Everybody's document under a tenant's key is no document of that tenant."""
    table = fed((b"acme" + doc(A)[0][1:], doc(A)[1]), the_set(A, scope="acme"))
    assert table.sets()[0].invalid == "acme: a document does not check"


def test_a_set_that_does_not_compile_denies_its_scope(monkeypatch):
    """Whatever the compiler raises, no worker stops for it."""

    def fail(*_args, **_kwargs):
        raise RecursionError

    monkeypatch.setattr(policies.policy, "compile_scope_steps", fail)
    table = fed(doc(A), the_set(A))
    assert table.sets()[0].invalid == "*: does not compile: RecursionError"


def test_a_mended_document_puts_the_set_in_force_again():
    """A document written again as it should be ends the denial."""
    table = fed(doc(A), the_set(A), BROKEN_DOCUMENT)
    (change,) = table.apply(3, *doc(A))
    assert (change.invalid, state(table)) == ("", digest(A))


def test_a_document_written_again_changes_nothing():
    """A document is what its digest says: the same one again is no change to be audited."""
    table = fed(doc(A), the_set(A))
    assert table.apply(2, *doc(A)) == []


def test_an_invalid_scope_denies_that_scope_alone():
    """A tenant's broken set is that tenant's; everybody's set goes on for others."""
    table = fed(doc(A), the_set(A), doc(TENANT), (b"acme/set", b"broken"))
    assert table.program("acme").invalid
    assert not table.program("other").invalid


def test_records_nobody_knows_are_passed_over():
    """A key of no known form changes nothing but the offset."""
    table = fed((b"*/what/ever", b"x"), (None, b"x"), (b"\xff", None))
    assert (table.offset, table.sets()) == (3, [])


# -- by steps -------------------------------------------------------------------------------------------------------


def test_until_the_last_step_the_set_before_is_in_force_under_its_offset():
    """Agents decide between the steps: all that they see, offset and program, is of before the record."""
    table = fed(doc(A), the_set(A), doc(B), doc(C))
    before, told = table.program("acme"), table.sets()
    steps = table.steps(4, *the_set(A, B, C))
    seen = 0
    while (changes := policy_follower._step(steps)) is None:
        seen += 1
        assert (table.offset, table.sets(), table.program("acme") is before) == (4, told, True)
    assert seen > 4, "two policies are checked and compiled, each in steps of its own"
    (change,) = changes
    assert (table.offset, change.offset, state(table)) == (5, 4, digest(A, B, C))


async def test_others_run_while_a_set_comes_and_hear_of_it_at_once(monkeypatch):
    """Between two slices whoever waits has a turn; a new program is never seen before its change was told."""
    monkeypatch.setattr(policy_follower, "SLICE_MS", 0)
    cluster, told, seen = Cluster(), [], []
    cluster.put_set(deny_word("one"))
    follower = PolicyFollower(cluster, "enforcer.policies", lambda c: told.append(c.digest))
    await follower.start()

    async def decides():
        while True:
            assert {s.digest for s in follower.table.sets()} == {told[-1]}
            seen.append((follower.table.offset, told[-1]))
            await asyncio.sleep(0)

    running = [asyncio.create_task(follower.run()), asyncio.create_task(decides())]
    named = (deny_word(word).replace("id: words", f"id: {word}") for word in ("two", "three"))
    cluster.put_set(deny_word("one"), *named)
    await until(lambda: len(told) == 2)
    assert len([each for each in seen if each[0] > 2 and each[1] == told[0]]) > 4
    for each in running:
        each.cancel()
    ended = await asyncio.gather(*running, return_exceptions=True)
    assert isinstance(ended[1], asyncio.CancelledError), ended[1]
    await follower.stop()


# -- removal, changes ----------------------------------------------------------------------------------------------


def test_a_tombstone_takes_a_set_out_of_force():
    """The scope has no policies any more, and the ledger is told so once."""
    table = fed(doc(A), the_set(A))
    (removed,) = table.apply(2, b"*/set", None)
    assert (removed.digest, removed.program, removed.offset) == ("", None, 2)
    assert table.sets() == []
    assert table.apply(3, b"*/set", None) == []
    assert orjson.loads(removed.payload()) == {"scope": "*", "digest": "", "policy_offset": 2}


def test_changes_since_an_offset_name_the_newest_of_each_scope():
    """A takeover enters into its ledger what it has not; removals too, in order of offsets."""
    table = fed(doc(A), the_set(A), doc(TENANT), the_set(TENANT, scope="acme"), (b"*/set", None))
    assert [(c.scope, c.offset) for c in table.changes_since(0)] == [("acme", 3), ("*", 4)]
    assert [(c.scope, c.offset) for c in table.changes_since(4)] == [("*", 4)]
    table.apply(5, *the_set(A))
    assert [(c.scope, c.digest != "") for c in table.changes_since(4)] == [("*", True)]


def test_programs_are_composed_once_and_anew_after_a_change():
    """A tenant's program is kept until any set changes."""
    table = fed(doc(A), the_set(A))
    program = table.program("acme")
    assert table.program("acme") is program
    table.apply(2, *doc(B))
    assert table.program("acme") is program
    table.apply(3, *the_set(B))
    assert table.program("acme") is not program


def test_made_up_tenants_do_not_fill_the_memory(monkeypatch):
    """Callers invent tenants; the programs kept for them are bounded."""
    monkeypatch.setattr(policies, "PROGRAMS_MAX", 3)
    table = fed(doc(A), the_set(A))
    for n in range(10):
        table.program(f"tenant{n}")
        assert len(table._programs) <= 3


def test_the_program_before_is_given_to_the_compiler(monkeypatch):
    """What has not changed of a scope is not compiled again."""
    given = []
    compile_scope_steps = policy.compile_scope_steps

    def spy(documents, scope, *, previous=None):
        given.append(previous)
        return compile_scope_steps(documents, scope, previous=previous)

    monkeypatch.setattr(policies.policy, "compile_scope_steps", spy)
    table = fed(doc(A), the_set(A))
    first = table.sets()[0].program
    fed(doc(B), the_set(A, B), table=table)
    assert given == [None, first]


# -- laws -----------------------------------------------------------------------------------------------------------


RECORDS = st.lists(
    st.sampled_from(
        [
            doc(A), doc(B), gone(A), gone(B), BROKEN_DOCUMENT,
            the_set(A), the_set(B), the_set(A, B), BROKEN_SET, (b"*/set", None),
        ]
    ),
    max_size=12,
)  # fmt: skip


def compacted(records):
    """What a compacted topic still holds: of each key the last, tombstones gone."""
    last = {key: at for at, (key, _) in enumerate(records)}
    return [(at, k, v) for at, (k, v) in enumerate(records) if last[k] == at and v is not None]


@given(RECORDS)
def test_a_restart_finds_what_was_in_force_or_denies(records):
    """
    After a restart, on a compacted topic, a scope runs under what it ran under before; or it is denied, where
    the set before is gone from the topic while the next one waits for its documents.
    """
    running = fed(*records)
    restarted = PolicyTable()
    for offset, key, value in compacted(records):
        restarted.apply(offset, key, value)
    before, after = state(running), state(restarted)
    waits = bool(running._pending)
    assert after == before or (waits and after == "invalid")


@given(RECORDS)
def test_what_is_in_force_is_whole(records):
    """At every record, a valid set in force has each of its documents there and checked."""
    table = PolicyTable()
    there = set()
    for offset, (key, value) in enumerate(records):
        table.apply(offset, key, value)
        for document in (A, B):
            if key == doc(document)[0]:
                (there.add if value == doc(document)[1] else there.discard)(document.digest)
        for found in table.sets():
            if not found.invalid:
                named = next(
                    names
                    for n in (1, 2)
                    for names in itertools.combinations((A, B), n)
                    if digest(*names) == found.digest
                )
                assert {each.digest for each in named} <= there


# -- following --------------------------------------------------------------------------------------------------------


async def test_a_follower_starts_current_and_follows():
    """After ``start`` the table holds everything there was; ``run`` brings what comes, and wakes who waits."""
    cluster, changes = Cluster(), []
    cluster.put_set(ACME)
    follower = PolicyFollower(cluster, "enforcer.policies", changes.append)
    await follower.start()
    assert (follower.table.offset, [c.scope for c in changes]) == (2, ["acme"])
    running = asyncio.create_task(follower.run())
    waiting = asyncio.create_task(follower.wait_for(4))
    await asyncio.sleep(0.005)
    assert not waiting.done()
    cluster.put_set(deny_word("one"))
    await waiting
    assert [c.scope for c in changes] == ["acme", "*"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await follower.stop()
    assert cluster.readers[-1].closed


async def test_control_records_move_the_position():
    """Offsets that deliver nothing count: who waits for the topic's end must not wait for ever."""
    cluster = Cluster()
    cluster.put_set(ACME)
    cluster.log("policies").gap(2)
    follower = PolicyFollower(cluster, "enforcer.policies")
    await follower.start()
    assert (await follower.end(), follower.table.offset) == (4, 4)
    running = asyncio.create_task(follower.run())
    cluster.log("policies").gap(3)
    await until(lambda: follower.table.offset == 7)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_the_age_of_policies_grows_while_nobody_can_say_where_the_topic_ends(monkeypatch):
    """Silence says nothing: the end is asked for, and an age that is not answered grows until it is."""
    monkeypatch.setattr(policy_follower, "WATCH_S", 0.005)
    monkeypatch.setattr(policy_follower, "WATCH_TIMEOUT_S", 0.05)
    cluster, ages = Cluster(), []
    cluster.put_set(ACME)
    follower = PolicyFollower(cluster, "enforcer.policies")
    await follower.start()
    reads = asyncio.create_task(follower.run())
    watches = asyncio.create_task(follower.watch(ages.append))
    await until(lambda: len(ages) > 3)
    assert max(ages) < 0.05
    end, answers = follower.end, False

    async def no_answer():
        if answers:
            return await end()
        raise UnavailableError("cut off")

    monkeypatch.setattr(PolicyFollower, "end", lambda _: no_answer())
    await until(lambda: ages[-1] > 0.1)
    answers = True
    await until(lambda: ages[-1] < 0.05)
    reads.cancel()
    await until(lambda: ages[-1] < 0.05)
    cluster.put_set(deny_word("one"))
    await until(lambda: ages[-1] > 0.1)
    watches.cancel()
    await asyncio.gather(reads, watches, return_exceptions=True)


async def test_an_empty_topic_is_current_at_once():
    """Without any policy a worker starts; and a follower that never started can be stopped."""
    follower = PolicyFollower(Cluster(), "enforcer.policies")
    await follower.stop()
    await follower.start()
    assert follower.table.offset == 0


def test_documents_are_read_back_as_they_were_written():
    """A document's record carries what its digest was taken of."""
    assert policy.Document.from_record(events.decode_policy_document(doc(A)[1])).digest == A.digest
