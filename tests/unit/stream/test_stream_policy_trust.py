"""
Where policies are signed, whoever can write the topic changes nothing: what was signed last stays in force.

An author signs sets; an intruder, who can write to ``policies`` and has no key, writes what he likes, copies of old signed
records among it; then the topic is compacted, and a worker starts anew.
"""

import asyncio

from hypothesis import example, given, settings
from hypothesis import strategies as st
from stream_desk import Cluster, Log, deny_word, document_of, documents_of, set_of

from enforcer import events, policy
from enforcer.policy.signing import Signer, Verifier, make_key
from enforcer.policy.trust import Trust
from enforcer.stream.policies import PolicyFollower

PRIVATE, PUBLIC, _ = make_key()
SIGNER = Signer(PRIVATE, prefix="enforcer")
STRANGER = Signer(make_key()[0], prefix="enforcer")
DOCUMENTS = [documents_of(deny_word(word))[0] for word in ("one", "two", "three")]
NAMES = {policy.set_digest([d.digest]): at for at, d in enumerate(DOCUMENTS)} | {
    policy.set_digest([]): -1
}


class World:
    """A topic with two writers."""

    def __init__(self):
        self.cluster = Cluster()
        self.log = self.cluster.log("policies")
        self.history = self.cluster.log("policy-history")
        self.revision, self.newest = 0, None

    def sign(self, at):
        """The author puts one document in force, or with -1 takes all out of it."""
        documents = [DOCUMENTS[at]] if at >= 0 else []
        self.revision += 1
        self.newest = at
        for document in documents:
            key, value = document_of(document)
            self.put(self.history, "policy-history", document.digest.encode(), value)
            self.put(self.log, "policies", key, value)
        value = set_value(documents, self.revision)
        digest = policy.set_digest([d.digest for d in documents])
        self.put(self.history, "policy-history", digest.encode(), value)
        self.put(self.log, "policies", b"*/set", value)

    def put(self, log, topic, key, value, signer=SIGNER):
        log.append(key, value, signer.headers(topic, key, value) if signer else ())

    def intrude(self, kind, at):
        """What somebody without the key can write."""
        key, value = document_of(DOCUMENTS[at])
        revision = self.revision + 9
        if kind == "unsigned set":
            self.put(self.log, "", key, value, None)
            self.put(self.log, "", b"*/set", set_value([DOCUMENTS[at]], revision), None)
        elif kind == "another key":
            self.put(self.log, "policies", b"*/set", set_value([], revision), STRANGER)
        elif kind == "tombstones":
            self.put(self.log, "", key, None, None)
            self.put(self.log, "", b"*/set", None, None)
        elif kind == "rubbish":
            self.put(self.log, "", b"*/set", b"rubbish", None)
            self.put(self.log, "", key, b"rubbish", None)
        elif kind == "replay" and self.log.end:
            record = self.log.records[at * 7 % self.log.end][0]
            self.log.append(record.key, record.value, record.headers)
        elif kind == "from history" and self.history.end:
            record = self.history.records[at * 5 % self.history.end][0]
            self.log.append(b"*/set", record.value, record.headers)

        elif kind == "replay history" and self.history.end:
            record = self.history.records[at * 3 % self.history.end][0]
            self.history.append(record.key, record.value, record.headers)
            self.history.append(record.key, b"rubbish")

    def compact(self):
        """Keep the newest record of each key, as the broker does in its own time; tombstones and their keys go."""
        newest = {r.key: r for r in self.log.read(0, self.log.end)}
        kept = Log(self.log.topic, 0)
        for record in sorted(newest.values(), key=lambda r: r.offset):
            kept.end = record.offset
            if record.value is not None:
                kept.append(record.key, record.value, record.headers)
        kept.end = self.log.end
        self.log = self.cluster.logs["enforcer.policies", 0] = kept


def set_value(documents, revision):
    digests = [d.digest for d in documents]
    record = events.PolicySet(
        "*", revision, documents=digests, digest=policy.set_digest(digests), author="a"
    )
    return events.encode_policy_set(record)


async def started(world):
    """A worker's follower, from nothing."""
    verifier = Verifier([PUBLIC], prefix="enforcer")
    follower = PolicyFollower(world.cluster, "enforcer.policies", trust=Trust(verifier))
    await follower.start()
    return follower


def in_force(follower):
    """Which document is in force: an index, -1 for none of them, None where no set is."""
    found = [s for s in follower.table.sets() if s.scope == "*"]
    if not found:
        return None
    assert not found[0].invalid, found[0].invalid
    return NAMES[found[0].digest]


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
