"""
Where policies are signed, whoever can write the topic changes nothing: what was signed last stays in force.

An author signs sets; an intruder, who can write to ``policies`` and has no key, writes what he likes, copies of old signed
records among it; then the topic is compacted, and a worker starts anew.
"""

import asyncio

from hypothesis import example, given, settings
from hypothesis import strategies as st
from stream_desk import document_of, set_of
from stream_policy_world import DOCUMENTS, PUBLIC, World, in_force, set_value, started

from enforcer.policy.signing import Verifier
from enforcer.policy.trust import Trust
from enforcer.stream.policy_follower import PolicyFollower

SIGNS = st.tuples(st.just("sign"), st.integers(-1, 2))
INTRUDES = st.tuples(
    st.sampled_from(
        [
            "unsigned set",
            "another key",
            "tombstones",
            "rubbish",
            "replay",
            "from history",
            "replay history",
        ]
    ),
    st.integers(0, 2),
)


@given(st.lists(SIGNS | INTRUDES, max_size=14), st.integers(0, 13), st.booleans())
@example([("sign", -1), ("sign", 0), ("replay history", 0), ("rubbish", 0)], 13, True)
@settings(max_examples=100)
def test_what_was_signed_last_is_in_force(steps, starts_at, compacts):
    """On a worker that saw it all, on one that starts in the middle, and on one that starts after a compaction."""
    asyncio.run(story(steps, starts_at, compacts))


async def story(steps, starts_at, compacts):
    world = World()
    first, second = await started(world), None
    for at, (kind, which) in enumerate(steps):
        if at == starts_at:
            second = await started(world)
        if kind == "sign":
            world.sign(which)
        else:
            world.intrude(kind, which)
        for follower in (first, second):
            if follower is not None:
                await follower.catch_up(world.log.end)
                assert in_force(follower) == world.newest
    if compacts:
        world.compact()
    third = await started(world)
    assert in_force(third) == world.newest
    assert third.table.offset == world.log.end


async def test_a_refused_record_is_told_with_its_reason():
    """By scope, with the offset; and forgotten when something newer of the scope is believed."""
    world, told = World(), []
    world.sign(0)
    world.sign(1)
    verifier = Verifier([PUBLIC], prefix="enforcer")
    follower = PolicyFollower(
        world.cluster, "enforcer.policies", trust=Trust(verifier), on_refusal=told.append
    )
    await follower.start()
    assert told == [] or {r.code for r in told} == {"older"}
    told.clear()
    key, _ = document_of(DOCUMENTS[1])
    old = world.log.records[1][0]
    world.log.append(old.key, old.value, old.headers)
    world.put(world.log, "policies", key, None)
    world.put(world.log, "policies", b"*/set", None)
    world.put(world.log, "policies", b"*/set", b"rubbish")
    world.put(world.log, "policies", b"acme/set", set_of("acme", [])[1], None)
    await follower.catch_up(world.log.end)
    assert [(r.scope, r.code) for r in told] == [
        ("*", "older"), ("*", "named"), ("*", "tombstone"), ("*", "unreadable"), ("acme", "unsigned"),
    ]  # fmt: skip
    assert told[0].offset == 4
    assert follower.trust.refused_by_code["older"] >= 1
    assert set(follower.trust.refused) == {"*", "acme"}
    world.sign(2)
    await follower.catch_up(world.log.end)
    assert set(follower.trust.refused) == {"acme"}
    assert in_force(follower) == 2


async def test_a_document_that_no_set_names_may_go():
    """Signed tombstones of forgotten documents are the author's housekeeping."""
    world = World()
    world.sign(0)
    world.sign(1)
    follower = await started(world)
    before = dict(follower.trust.refused_by_code)
    world.put(world.log, "policies", document_of(DOCUMENTS[0])[0], None)
    await follower.catch_up(world.log.end)
    assert follower.trust.refused_by_code == before
    assert in_force(follower) == 1


async def test_one_revision_is_one_set():
    """Two sets that both say they are the fifth: the first stays, so that all workers agree whichever comes again."""
    world = World()
    world.sign(0)
    follower = await started(world)
    world.put(world.log, "policies", b"*/set", set_value([], 1))
    await follower.catch_up(world.log.end)
    assert follower.trust.refused["*"].code == "older"
    assert in_force(follower) == 0
