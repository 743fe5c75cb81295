"""What the policy topic says, record by record; and which changes are refused."""

import pytest

from enforcer import events, policy
from enforcer.control.policies import DAY_MS, _check_whole, _forgotten, _set_change
from enforcer.control.published import Published
from enforcer.errors import PolicyError

TENANT = "apiVersion: enforcer/v1\nkind: Tenant\nmetadata: {id: acme}\n"
NAMES = "apiVersion: enforcer/v1\nkind: Values\nmetadata: {id: names, tenant: acme}\nspec: {good: [gpt-4o]}\n"
READER = (
    "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: reader, tenant: acme}\nspec:\n  rules:\n"
    "    - {id: a, condition: {operator: in, field: llm.model, value: {values: good}}, then: deny}\n"
)


def records(*texts):
    loaded = policy.load([(f"d{at}", text) for at, text in enumerate(texts)])
    return {(d.kind, d.id): d.to_record() for d in loaded.documents}


def published(documents, *, revision=1, named=None, written_ms=0):
    topic = Published()
    for document in documents.values():
        topic.apply(f"acme/doc/{document.digest}".encode(), events.encode(document), written_ms)
    digests = [d.digest for d in documents.values()] if named is None else named
    record = events.PolicySet(
        "acme", revision, documents=digests, digest=policy.set_digest(digests)
    )
    topic.apply(b"acme/set", events.encode(record), written_ms)
    return topic


def test_the_newest_set_says_what_is_in_force():
    """Documents that no set names are not; tombstones take documents and sets away."""
    both = records(TENANT, NAMES)
    topic = published(both, named=[both["Tenant", "acme"].digest])
    assert list(topic.in_force("acme")) == [("Tenant", "acme")]
    assert topic.in_force("globex") == {}
    topic.apply(f"acme/doc/{both['Tenant', 'acme'].digest}".encode(), None, 1)
    assert topic.in_force("acme") == {}
    topic.apply(b"acme/set", None, 1)
    assert topic.sets == {}


def test_a_record_that_cannot_be_read_is_passed_over():
    """It can only be replaced: it stops no reader."""
    topic = published(records(TENANT))
    topic.apply(b"acme/set", b"rubbish", 1)
    topic.apply(b"acme/doc/x", b"", 1)
    topic.apply(b"\xff", b"", 1)
    assert list(topic.in_force("acme")) == [("Tenant", "acme")]


def test_a_change_names_what_is_other():
    """Revision, digest, what it replaces, and added, changed, removed by kind and id."""
    before, after = (
        records(TENANT, NAMES),
        records(TENANT + "spec: {on_timeout: allow}\n", READER, NAMES),
    )
    after.pop(("Values", "names"))
    topic = published(before, revision=7)
    change = _set_change(topic, "acme", topic.in_force("acme"), after)
    assert (change.revision, change.replaces) == (8, topic.sets["acme"].digest)
    assert change.added == ("Policy/reader",)
    assert change.changed == ("Tenant/acme",)
    assert change.removed == ("Values/names",)
    assert _set_change(topic, "acme", before, before) is None
    assert _set_change(Published(), "acme", {}, {}) is None


def test_documents_are_forgotten_a_day_after_no_set_names_them():
    """Not sooner: an agent may still be reading the set before."""
    both = records(TENANT, NAMES)
    topic = published(both, written_ms=1_000)
    kept = [both["Tenant", "acme"].digest]
    assert _forgotten(topic, "acme", kept, 1_000 + DAY_MS) == []
    ((key, value, _, _),) = _forgotten(topic, "acme", kept, 1_001 + DAY_MS)
    assert (key, value) == (f"acme/doc/{both['Values', 'names'].digest}".encode(), None)
    assert _forgotten(topic, "globex", [], 1_001 + DAY_MS) == []


def test_a_set_is_checked_whole():
    """Documents that need each other are applied and kept together; out of a broken set one may be taken."""
    every = records(TENANT, NAMES, READER)
    without = {name: each for name, each in every.items() if name != ("Values", "names")}
    _check_whole("acme", {}, every)
    with pytest.raises(PolicyError):
        _check_whole("acme", every, without)
    with pytest.raises(PolicyError):
        _check_whole("acme", {}, without)
    broken = {
        **without,
        **records(
            "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: q, tenant: acme}\nspec: {}\n"
        ),
    }
    less = {name: each for name, each in broken.items() if name[1] != "q"}
    _check_whole("acme", broken, less)
