"""A policy topic and its history with two writers: an author who signs, and an intruder who can write and has no key."""

from stream_desk import Cluster, Log, deny_word, document_of, documents_of

from enforcer import events, policy
from enforcer.policy.signing import Signer, Verifier, make_key
from enforcer.policy.trust import Trust
from enforcer.stream.policy_follower import PolicyFollower
from enforcer.stream.signed_sets import SignedSets

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
        elif kind == "replay" and self.log.records:
            record = some(self.log, at * 7)
            self.log.append(record.key, record.value, record.headers)
        elif kind == "from history" and self.history.records:
            record = some(self.history, at * 5)
            self.log.append(b"*/set", record.value, record.headers)

        elif kind == "replay history" and self.history.records:
            record = some(self.history, at * 3)
            self.history.append(record.key, record.value, record.headers)
            self.history.append(record.key, b"rubbish")

    def erase_newest(self):
        """What who can write both topics can do: an older set on top, the newest gone from the history, all compacted."""
        record = next(r for r in self.log.read(0, self.log.end) if r.key == b"*/set")
        self.log.append(record.key, record.value, record.headers)
        for record in self.history.read(0, self.history.end):
            if not revision_of(record.value) < self.revision:
                self.history.append(record.key, b"rubbish")
        self.compact()
        self.history = self.compacted(self.history)

    def erase_all(self):
        """Both topics deleted and made again."""
        for name in ("policies", "policy-history"):
            del self.cluster.logs[f"enforcer.{name}", 0]
        self.log, self.history = self.cluster.log("policies"), self.cluster.log("policy-history")

    def say(self, follower, worker=b"w1"):
        """A worker's word on what it has in force."""
        ack = events.PolicyAck(worker.decode(), 0, revisions=follower.trust.revisions())
        self.cluster.log("policy-acks").append(worker, events.encode_policy_ack(ack))

    def compact(self):
        """The cleaner comes by."""
        self.log = self.compacted(self.log)

    def compacted(self, log):
        """Keep the newest record of each key, as the broker does in its own time; tombstones and their keys go."""
        newest = {r.key: r for r in log.read(0, log.end)}
        kept = Log(log.topic, 0)
        for record in sorted(newest.values(), key=lambda r: r.offset):
            kept.end = record.offset
            if record.value is not None:
                kept.append(record.key, record.value, record.headers)
        kept.end = log.end
        self.cluster.logs[log.topic, 0] = kept
        return kept


def some(log, at):
    """One of its records."""
    return list(log.records.values())[at % len(log.records)][0]


def revision_of(value):
    """Of a set; of a document 0."""
    try:
        return events.decode_policy_set(value).revision
    except events.CodecError:
        return 0


def set_value(documents, revision):
    digests = [d.digest for d in documents]
    record = events.PolicySet(
        "*", revision, documents=digests, digest=policy.set_digest(digests), author="a"
    )
    return events.encode_policy_set(record)


async def started(world, *, table=None, keys=(PUBLIC,), told=None):
    """A worker's follower, from nothing, or with a *table* in its own directory."""
    verifier = Verifier(keys, prefix="enforcer")
    follower = PolicyFollower(
        world.cluster,
        "enforcer.policies",
        trust=Trust(verifier),
        on_refusal=None if told is None else told.append,
    )
    if table is not None:
        follower.held = SignedSets(table)
    await follower.start()
    return follower


def in_force(follower):
    """Which document is in force: an index, -1 for none of them, None where no set is."""
    found = [s for s in follower.table.sets() if s.scope == "*"]
    if not found:
        return None
    assert not found[0].invalid, found[0].invalid
    return NAMES[found[0].digest]
