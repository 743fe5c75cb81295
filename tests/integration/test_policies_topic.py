"""``policy apply``, ``list``, ``show`` and ``delete`` on the real broker, as commands."""

import asyncio
import json

import pytest

from enforcer import events, policy
from enforcer.broker import BrokerConfig, KafkaBroker
from enforcer.cli.main import run
from enforcer.control import policies
from enforcer.errors import ConflictError

TENANT = "apiVersion: enforcer/v1\nkind: Tenant\nmetadata: {id: acme}\nspec: {time_zone: UTC}\n"
GUARD = (
    "# The author's own words.\napiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: guard, tenant: acme}\n"
    "spec: {rules: [{id: a, then: warn}]}\n"
)
EVERYBODY = GUARD.replace("tenant: acme", 'tenant: "*"')
NAMES = "apiVersion: enforcer/v1\nkind: Values\nmetadata: {id: names, tenant: acme}\nspec: {good: [gpt-4o]}\n"
READER = (
    "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: reader, tenant: acme}\nspec:\n  rules:\n"
    "    - {id: a, condition: {operator: in, field: llm.model, value: {values: good}}, then: deny}\n"
)


@pytest.fixture
def enforcer(bootstrap, prefix, capsys):
    """Run a command against topics of this test's own; exit code, stdout and stderr."""

    def call(*arguments):
        target = ["--bootstrap", bootstrap, "--prefix", prefix]
        code = run([*map(str, arguments), *target])
        found = capsys.readouterr()
        return code, found.out, found.err

    assert call("topics", "apply", "--partitions", "1")[0] == 0
    return call


@pytest.fixture
def file(tmp_path):
    """A file with documents."""

    def write(*texts, name="documents.yaml"):
        path = tmp_path / name
        path.write_text("---\n".join(texts))
        return path

    return write


def listed(enforcer):
    code, out, _ = enforcer("policy", "list", "--output", "jsonl")
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


def test_from_nothing_to_policies_in_force(enforcer, file):
    """Applied all at once, listed and shown as written; the same again changes nothing."""
    code, out, err = enforcer("policy", "list")
    assert (code, out) == (0, "")
    assert "no policy is in force" in err
    path = file(TENANT, GUARD, EVERYBODY)
    code, out, err = enforcer("policy", "apply", path, "--output", "json")
    assert code == 0
    changes = {change["scope"]: change for change in json.loads(out)}
    assert set(changes) == {"*", "acme"}
    assert changes["acme"]["added"] == ["Policy/guard", "Tenant/acme"]
    assert (changes["acme"]["revision"], changes["acme"]["replaces"]) == (1, None)
    code, out, err = enforcer("policy", "apply", path)
    assert (code, out) == (0, "")
    assert "nothing to change" in err
    names = [(d["scope"], d["kind"], d["id"], d["revision"]) for d in listed(enforcer)]
    assert names == [
        ("*", "Policy", "guard", 1),
        ("acme", "Policy", "guard", 1),
        ("acme", "Tenant", "acme", 1),
    ]
    code, out, _ = enforcer("policy", "show", "guard", "--tenant", "acme")
    assert code == 0
    assert "The author's own words" in out
    code, out, _ = enforcer("policy", "show", "acme", "--output", "json")
    assert (code, json.loads(out)["kind"]) == (0, "Tenant")


def test_changes_replace_prune_and_delete(enforcer, file):
    """One document replaces its own; --prune takes out the rest of the scope; delete one; each names its set."""
    enforcer("policy", "apply", file(TENANT, GUARD, EVERYBODY))
    code, out, err = enforcer("policy", "apply", file(GUARD.replace("warn", "deny")))
    assert code == 0
    assert out.splitlines()[1:] == ["  ~ Policy/guard"]
    assert "revision 2" in out
    assert "in force" in err
    code, out, _ = enforcer("policy", "apply", file(TENANT), "--prune", "--output", "json")
    (change,) = json.loads(out)
    assert (change["removed"], change["revision"]) == (["Policy/guard"], 3)
    assert [d["id"] for d in listed(enforcer)] == ["guard", "acme"]
    code, out, _ = enforcer("policy", "delete", "guard", "--output", "jsonl")
    assert (code, json.loads(out)["removed"]) == (0, ["Policy/guard"])
    assert [d["id"] for d in listed(enforcer)] == ["acme"]


@pytest.mark.parametrize("verb", ["show", "delete"])
def test_ids_that_are_unknown_or_ambiguous(enforcer, file, verb):
    """Exit 5 and 6, with what to do."""
    enforcer("policy", "apply", file(TENANT, GUARD, EVERYBODY))
    code, out, err = enforcer("policy", verb, "nothing")
    assert (code, out) == (5, "")
    assert "`nothing`" in err
    code, out, err = enforcer("policy", verb, "guard")
    assert (code, out) == (6, "")
    assert "--tenant" in err
    assert enforcer("policy", verb, "guard", "--tenant", "globex")[0] == 5
    assert enforcer("policy", verb, "guard", "--tenant", "*")[0] == 0


def test_what_does_not_check_is_refused_whole(enforcer, file):
    """Exit 3, the findings as data, and nothing of the stream is in force."""
    code, out, err = enforcer(
        "policy", "apply", file(TENANT, GUARD.replace("warn", "wran")), "--output", "json"
    )
    assert code == 3
    assert json.loads(out)[0]["severity"] == "error"
    assert "nothing was applied" in err
    assert listed(enforcer) == []


def test_a_set_that_would_not_check_is_refused(enforcer, file):
    """Taking away what another document reads would deny the tenant everything: exit 3, all stays in force."""
    assert enforcer("policy", "apply", file(TENANT, NAMES, READER))[0] == 0
    code, out, err = enforcer("policy", "delete", "names")
    assert (code, out) == (3, "")
    assert "help:" in err
    assert len(listed(enforcer)) == 3
    assert enforcer("policy", "delete", "reader")[0] == 0
    assert enforcer("policy", "delete", "names")[0] == 0


def test_without_topics_the_way_out_is_said(bootstrap, prefix, capsys, tmp_path):
    """Exit 5: `enforcer topics apply` makes them."""
    target = ["--bootstrap", bootstrap, "--prefix", prefix]
    (tmp_path / "t.yaml").write_text(TENANT)
    for arguments in (
        ["list"],
        ["show", "x"],
        ["delete", "x"],
        ["apply", str(tmp_path / "t.yaml")],
    ):
        assert run(["policy", *arguments, *target]) == 5
        assert "enforcer topics apply" in capsys.readouterr().err


def documents(*texts):
    return policy.load([(f"d{at}", text) for at, text in enumerate(texts)]).documents


async def test_two_at_once_never_lose_a_change(bootstrap, prefix, capsys):
    """Whoever is fenced is told to look again; whoever is not stands in the set; history holds every set."""
    target = ["--bootstrap", bootstrap, "--prefix", prefix, "--partitions", "1"]
    assert await asyncio.to_thread(run, ["topics", "apply", *target]) == 0
    made = [GUARD.replace("id: guard", f"id: g{at}") for at in range(6)]
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        done, refused = [], []

        async def change(text):
            (document,) = documents(text)
            try:
                await policies.apply(broker, prefix, [document])
            except ConflictError:
                refused.append(document.id)
            else:
                done.append(document.id)

        for at in range(0, 6, 2):
            await asyncio.gather(change(made[at]), change(made[at + 1]))
        found = await policies.list_documents(broker, prefix)
        assert sorted(each.id for each in found) == sorted(done)
        assert done
        assert len(done) + len(refused) == len(made)
        published = await policies.read_published(broker, prefix)
        assert published.sets["acme"].revision == len(done)
        history = await read_history(broker, prefix)
        assert published.sets["acme"].digest in history
        assert set(published.sets["acme"].documents) <= set(history)


async def read_history(broker, prefix):
    """Records of the history by digest."""
    place = (f"{prefix}.policy-history", 0)
    reader = await broker.open_reader(read_committed=True)
    try:
        end = (await reader.offsets_end([place]))[place]
        reader.assign([place])
        await reader.seek_to_beginning(place)
        found = {}
        while (reader.position(*place) or 0) < end:
            for records in (await reader.poll(200)).values():
                found |= {r.key.decode(): events.decode(r.value) for r in records}
        return found
    finally:
        await reader.close()
