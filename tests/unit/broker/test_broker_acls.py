"""The ACLs of each role: derived from topics/, exact, and told apart from what merely looks like them."""

import json
import shlex

import pytest

from enforcer.broker import acls, topics
from enforcer.broker.acls import Acl
from enforcer.cli.main import run
from enforcer.errors import ConfigError

SPECS = topics.load_specs()


def held(role, **names):
    found = acls.required(SPECS, prefix="e", group=names.pop("group", "e"), roles=[role], **names)
    return {(a.resource, a.name, a.operation) for a in found}


def test_every_party_of_a_topic_is_a_role():
    """A word in topics/ that is no role would grant nobody anything, silently."""
    words = {word for spec in SPECS for word in (*spec.writers, *spec.readers)}
    assert words <= set(acls.PARTIES)
    assert all(spec.writers and spec.readers for spec in SPECS)


@pytest.mark.parametrize(
    ("topic", "writers", "readers"),
    [
        ("requests", {"gateway"}, {"worker", "replay"}),
        ("dead-letters", {"worker"}, {"operator"}),
        ("policies", {"policy-author"}, {"worker", "gateway", "policy-author", "auditor", "operator"}),
        ("policy-history", {"policy-author"}, {"worker", "policy-author", "auditor", "replay"}),
        ("audit", {"worker"}, {"auditor", "replay"}),
    ],
)  # fmt: skip
def test_who_writes_and_reads(topic, writers, readers):
    """What holds prompts, and what rules everything, is for the few."""
    for operation, wanted in (("Write", writers), ("Read", readers)):
        have = {role for role in acls.ROLES if ("topic", f"e.{topic}", operation) in held(role)}
        assert have == wanted, operation


def test_no_agent_holds_the_transactional_id_of_policies():
    """`<group>-` is no beginning of it, whatever group and prefix are."""
    name = acls.policies_transactional_id("e")
    pattern = Acl("w", "transactional-id", "e-", "prefixed", "Write")
    assert not acls.grants([pattern], Acl("w", "transactional-id", name, "literal", "Write"))
    assert acls.grants([pattern], Acl("w", "transactional-id", "e-11", "literal", "Write"))


@pytest.mark.parametrize(
    ("have", "wanted", "allows"),
    [
        (Acl("a", "topic", "t", "literal", "Read"), Acl("a", "topic", "t", "literal", "Describe"), True),
        (Acl("a", "topic", "t", "literal", "All"), Acl("a", "topic", "t", "literal", "Write"), True),
        (Acl("User:*", "topic", "*", "literal", "Read"), Acl("a", "topic", "t", "literal", "Read"), True),
        (Acl("a", "topic", "t", "prefixed", "Read"), Acl("a", "topic", "t2", "literal", "Read"), True),
        (Acl("a", "topic", "t", "literal", "Read"), Acl("b", "topic", "t", "literal", "Read"), False),
        (Acl("a", "topic", "t", "literal", "Read"), Acl("a", "group", "t", "literal", "Read"), False),
        (Acl("a", "topic", "t", "literal", "Describe"), Acl("a", "topic", "t", "literal", "Read"), False),
        (Acl("a", "group", "g-0", "literal", "Write"), Acl("a", "group", "g-", "prefixed", "Write"), False),
    ],
)  # fmt: skip
def test_what_an_acl_allows(have, wanted, allows):
    """As Kafka's authorizer has it: by name, by prefix, by star, by what implies it."""
    assert acls.grants([have], wanted) is allows


def test_the_script_says_the_same_as_the_table(capsys):
    """One line of kafka-acls.sh for each principal and resource, every operation of the table in it."""
    where = [
        "topics",
        "acls",
        "--print",
        "--prefix",
        "e",
        "--group",
        "g",
        "--principal",
        "worker=CN=w",
    ]
    assert run([*where, "--output", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert run([*where, "--script"]) == 0
    told = set()
    for line in capsys.readouterr().out.splitlines():
        words = shlex.split(line)
        principal = words[words.index("--allow-principal") + 1]
        kinds = ("--topic", "--group", "--transactional-id", "--cluster")
        kind = next(word for word in words if word in kinds)
        name = acls.CLUSTER if kind == "--cluster" else words[words.index(kind) + 1]
        pattern = "prefixed" if "prefixed" in words else "literal"
        for at, word in enumerate(words):
            if word == "--operation":
                told.add((principal, kind[2:], name, pattern, words[at + 1]))
    assert told == {
        (r["principal"], r["resource"], r["name"], r["pattern"], r["operation"]) for r in rows
    }
    assert {r["principal"] for r in rows if r["role"] == "worker"} == {"User:CN=w"}


@pytest.mark.parametrize("text", ["worker", "baker=x", "worker=", "worker=a'b", "worker=a\nb"])
def test_a_principal_that_cannot_be_is_refused(text):
    """An unknown role, no name, or one that would leave its quotes in the script."""
    with pytest.raises(ConfigError):
        acls.checked_principals([text])
