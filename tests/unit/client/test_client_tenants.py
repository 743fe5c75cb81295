"""What a gateway learns from the policy topic."""

import json

from enforcer import events
from enforcer.client.tenants import Tenants, TenantSettings


def document(tenant, digest, kind="Tenant", canonical=None, **spec):
    canonical = canonical or json.dumps({"kind": kind, "metadata": {"id": tenant}, "spec": spec})
    return events.encode(
        events.PolicyDocument(
            kind=kind, id=tenant, scope=tenant, digest=digest, canonical=canonical
        )
    )


def policy_set(scope, *digests):
    return events.encode(
        events.PolicySet(scope=scope, revision=1, documents=list(digests), digest="s")
    )


def test_a_document_counts_only_in_a_set():
    """A document alone changes nothing; its set puts it in force, a later set takes it out again."""
    tenants = Tenants()
    tenants.apply(b"acme/doc/d1", document("acme", "d1", on_timeout="allow"))
    assert tenants.settings("acme") == TenantSettings()
    tenants.apply(b"acme/set", policy_set("acme", "d1", "other"))
    assert tenants.settings("acme").on_timeout == "allow"
    tenants.apply(b"acme/doc/d2", document("acme", "d2", account=["tenant", "team.id"]))
    assert tenants.settings("acme").account_by == ("tenant",)
    tenants.apply(b"acme/set", policy_set("acme", "d2"))
    assert tenants.settings("acme") == TenantSettings(("tenant", "team.id"), "deny")
    tenants.apply(b"acme/set", None)
    assert tenants.settings("acme") == TenantSettings()


def test_a_document_may_come_again_after_its_set():
    """Compaction keeps a document's newest copy, which may lie behind the set that names it."""
    tenants = Tenants()
    tenants.apply(b"acme/set", policy_set("acme", "d1"))
    tenants.apply(b"acme/doc/d1", document("acme", "d1", on_timeout="allow"))
    assert tenants.settings("acme").on_timeout == "allow"
    tenants.apply(b"acme/doc/d1", None)
    assert tenants.settings("acme").on_timeout == "deny"


def test_a_tenants_own_set_outranks_the_global_one():
    """Both sets may describe a tenant; its own is the one that counts."""
    tenants = Tenants()
    tenants.apply(b"acme/doc/a", document("acme", "a", on_timeout="allow"))
    tenants.apply(b"*/doc/b", document("acme", "b", on_timeout="deny"))
    tenants.apply(b"acme/set", policy_set("acme", "a"))
    tenants.apply(b"*/set", policy_set("*", "b"))
    assert tenants.settings("acme").on_timeout == "allow"


def test_what_cannot_be_read_changes_nothing():
    """Damage, other kinds and unknown keys are the agents' business."""
    tenants = Tenants()
    tenants.apply(b"acme/doc/d1", document("acme", "d1", on_timeout="allow"))
    tenants.apply(b"acme/set", policy_set("acme", "d1"))
    tenants.apply(b"acme/set", b"damaged")
    tenants.apply(b"acme/doc/d3", document("acme", "d3", kind="Policy"))
    tenants.apply(b"acme/doc/d4", document("acme", "d4", canonical="no json"))
    tenants.apply(b"acme/doc/d5", document("acme", "d5", canonical="[]"))
    tenants.apply(b"acme/doc/d6", b"damaged")
    tenants.apply(None, None)
    tenants.apply(b"\xff/else", b"")
    assert tenants.settings("acme").on_timeout == "allow"


def test_anything_but_a_clear_allow_is_a_deny():
    """A value that nobody knows fails closed."""
    tenants = Tenants()
    tenants.apply(b"acme/doc/d1", document("acme", "d1", on_timeout="Allow please"))
    tenants.apply(b"acme/set", policy_set("acme", "d1"))
    assert tenants.settings("acme").on_timeout == "deny"
