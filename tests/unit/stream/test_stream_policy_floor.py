"""
Where policies are signed, no worker goes back: not one that starts anew, and not when every topic has forgotten.

Two things are kept beside the topics: what a worker has in its own directory, and the word of others on how high they were.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_desk import Cluster, document_of
from stream_policy_world import (
    DOCUMENTS,
    PUBLIC,
    World,
    in_force,
    set_value,
    started,
)

from enforcer.errors import UnavailableError
from enforcer.policy.signing import Signer, Verifier, make_key
from enforcer.policy.trust import REFUSED_MAX, Refusal
from enforcer.store import MemoryTable
from enforcer.stream.policies import SetInForce
from enforcer.stream.policy_follower import PolicyFollower


def denied(follower):
    """Whether everybody's scope is denied for want of its set."""
    (found,) = (s for s in follower.table.sets() if s.scope == "*")
    return bool(found.invalid)


async def test_a_worker_that_starts_again_holds_what_both_topics_have_lost():
    """With its documents; and says that it is the one who holds it, until it is signed once more."""
    world, table, told = World(), MemoryTable(), []
    for at in (0, 1, 2):
        world.sign(at)
    await started(world, table=table)
    world.erase_newest()
    again = await started(world, table=table, told=told)
    assert in_force(again) == 2
    assert [(r.scope, r.code) for r in told if r.code != "older"] == [("*", "held")]
    assert again.trust.told()["*"].startswith("*: what is in force stands in no topic any more")
    world.sign(0)
    await again.catch_up(world.log.end)
    assert (in_force(again), again.trust.refused) == (0, {})


async def test_a_set_whose_document_came_after_it_is_held_with_its_document():
    """Whoever writes a document once more puts it behind its set, once the topic is compacted."""
    world, table = World(), MemoryTable()
    world.sign(0)
    document = next(r for r in world.log.read(0, world.log.end) if r.key != b"*/set")
    world.log.append(document.key, document.value, document.headers)
    world.history.append(DOCUMENTS[0].digest.encode(), b"rubbish")
    world.compact()
    world.history = world.compacted(world.history)
    assert in_force(await started(world, table=table)) == 0
    world.erase_all()
    assert in_force(await started(world, table=table)) == 0


async def test_topics_made_again_do_not_take_a_worker_back():
    """Nor what is then written to them of old."""
    world, table = World(), MemoryTable()
    world.sign(0)
    old = [*world.log.read(0, world.log.end)]
    world.sign(1)
    await started(world, table=table)
    world.erase_all()
    for record in old:
        world.log.append(record.key, record.value, record.headers)
    again = await started(world, table=table)
    assert in_force(again) == 1
    assert again.trust.refused["*"].code == "held"


async def test_a_new_worker_believes_the_word_of_others_and_denies_what_is_lost():
    """It has no directory, and finds an older set alone: nobody is let through by it, until a newer one is signed."""
    world, told = World(), []
    for at in (0, 1):
        world.sign(at)
    world.say(await started(world))
    world.erase_newest()
    new = await started(world, told=told)
    assert denied(new)
    assert new.table.program("acme").invalid
    assert [r.code for r in told] == ["older", "lost"]
    world.sign(2)
    await new.catch_up(world.log.end)
    assert in_force(new) == 2
    assert new.trust.refused == {}


async def test_the_denial_stands_in_the_ledger_of_a_partition_that_comes_later():
    """As of the table's own offset: a partition that has all policies entered up to there has this one to enter still."""
    world = World()
    world.sign(0)
    world.say(await started(world))
    world.erase_all()
    new = await started(world)
    end = new.table.offset
    assert new.table.changes_since(end) == [
        SetInForce("*", "", end, None, invalid=new.table.sets()[0].invalid)
    ]


async def test_a_word_that_cannot_be_read_raises_no_floor():
    """Nor does a topic that is not there: what vouches is then what there is."""
    world = World()
    world.sign(0)
    world.cluster.log("policy-acks").append(b"w", b"rubbish")
    assert in_force(await started(world)) == 0
    del world.cluster.topics["enforcer.policy-acks"]
    assert in_force(await started(world)) == 0


@given(
    st.lists(
        st.tuples(st.just("sign"), st.integers(-1, 2))
        | st.tuples(
            st.sampled_from(["replay", "from history", "erase newest", "erase all"]),
            st.integers(0, 2),
        ),
        min_size=1,
        max_size=10,
    )
)
@settings(max_examples=100)
def test_whatever_topics_forget_nobody_goes_back(steps):
    """A worker with a directory decides under what was signed last; one without does so too, or denies."""
    import asyncio

    asyncio.run(story(steps))


async def story(steps):
    world, table = World(), MemoryTable()
    world.sign(0)
    world.say(await started(world, table=table))
    for kind, at in steps:
        if kind == "sign":
            world.sign(at)
            world.say(await started(world, table=table))
        elif kind == "erase newest":
            if any(r.key == b"*/set" for r in world.log.read(0, world.log.end)):
                world.erase_newest()
        elif kind == "erase all":
            world.erase_all()
        else:
            world.intrude(kind, at)
        assert in_force(await started(world, table=table)) == world.newest
        new = await started(world)
        assert denied(new) or in_force(new) == world.newest


# -- keys --------------------------------------------------------------------------------------------------


async def test_a_key_that_comes_is_believed_for_what_it_has_signed_before():
    """What was refused for want of the key is found again, without a restart; and the topic's offset stays where it is."""
    world = World()
    world.sign(0)
    private, public, _ = make_key()
    second = Signer(private, prefix="enforcer")
    follower = await started(world)
    key, value = document_of(DOCUMENTS[1])
    world.put(world.log, "policies", key, value, second)
    world.put(world.log, "policies", b"*/set", set_value([DOCUMENTS[1]], 2), second)
    await follower.catch_up(world.log.end)
    assert (in_force(follower), follower.trust.refused["*"].code) == (0, "unknown_key")
    follower.believe(Verifier([PUBLIC, public], prefix="enforcer"))
    await follower._read_again()
    assert (in_force(follower), follower.trust.refused) == (1, {})
    assert follower.table.offset == world.log.end


async def test_a_key_that_goes_leaves_in_force_what_it_signed_and_says_so():
    """From then on it signs nothing; a new signature on the set ends it, and so does the old key's return."""
    world = World()
    world.sign(0)
    follower = await started(world)
    private, public, _ = make_key()
    follower.believe(Verifier([public], prefix="enforcer"))
    await follower._read_again()
    assert (in_force(follower), follower.trust.refused["*"].code) == (0, "key_gone")
    world.sign(1)
    await follower.catch_up(world.log.end)
    assert in_force(follower) == 0
    follower.believe(Verifier([PUBLIC, public], prefix="enforcer"))
    await follower._read_again()
    assert (in_force(follower), follower.trust.refused) == (1, {})
    follower.believe(Verifier([public], prefix="enforcer"))
    second = Signer(private, prefix="enforcer")
    world.put(world.log, "policies", b"*/set", set_value([DOCUMENTS[1]], 3), second)
    await follower.catch_up(world.log.end)
    assert (in_force(follower), follower.trust.refused) == (1, {})


async def test_what_a_key_signed_that_is_gone_denies_a_worker_that_starts():
    """Its directory says that there was a set; that nobody known has signed it is no reason to let everybody through."""
    world, table = World(), MemoryTable()
    world.sign(0)
    await started(world, table=table)
    _, public, _ = make_key()
    again = await started(world, table=table, keys=(public,))
    assert denied(again)
    assert again.trust.refused["*"].code == "lost"


# -- bounds ------------------------------------------------------------------------------------------------


async def test_made_up_scopes_fill_nobodys_memory_and_break_no_line():
    """Who can write the topic can name as many scopes as he likes, and whatever he likes."""
    world = World()
    world.sign(0)
    follower = await started(world)
    for number in range(REFUSED_MAX + 50):
        world.log.append(f"s{number}/set".encode(), b"x")
    world.log.append(b"two\nlines\x1b[31m" + b"x" * 5_000 + b"/set", b"x")
    await follower.catch_up(world.log.end)
    told = follower.trust.told()
    assert len(told) == REFUSED_MAX
    assert all(line.isprintable() and len(line) < 200 for line in told.values())
    assert str(Refusal("a\nb", 3, "unsigned")) == "a?b: not signed (offset 3)"


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_topic_that_gives_nothing_of_what_it_holds_ends_the_start(trusted):
    """With the topic's name, after a stated time; not never."""
    world = World()
    world.sign(0)
    world.cluster.silent = True
    follower = PolicyFollower(world.cluster, "enforcer.policies", silence_s=0.05)
    with pytest.raises(UnavailableError, match=r"enforcer\.policies-0 cannot be read") as caught:
        await follower.start()
    assert caught.value.code == "silent"


async def test_unsigned_installations_keep_nothing():
    """Where nobody has keys there is no floor, and nothing is read but the policies."""
    cluster = Cluster()
    follower = PolicyFollower(cluster, "enforcer.policies")
    await follower.start()
    assert follower.table.sets() == []
    assert len(cluster.readers) == 1
