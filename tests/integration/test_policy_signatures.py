"""Signed policies, as commands on the real broker: from a key to what a worker refuses, and back after a change of keys."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from enforcer import events
from enforcer.broker import BrokerConfig, KafkaBroker
from enforcer.cli.main import run
from enforcer.client import Gateway
from enforcer.local import ports

POLICY = """\
apiVersion: enforcer/v1
kind: Tenant
metadata: {{id: acme}}
spec: {{on_timeout: {on_timeout}}}
---
apiVersion: enforcer/v1
kind: Policy
metadata: {{id: p, tenant: acme}}
spec: {{rules: [{{id: a, then: warn, code: {code}}}]}}
"""


class Installation:
    """Topics, keys and a worker that wants signatures."""

    def __init__(self, bootstrap, prefix, folder, capsys):
        self.bootstrap, self.prefix, self.folder, self.capsys = bootstrap, prefix, folder, capsys
        self.where = ["--bootstrap", bootstrap, "--prefix", prefix]
        self.key, self.keys = folder / "key", folder / "keys"
        self.keys.mkdir()
        self.port = ports.choose(1)[0]
        self.worker = None

    def __call__(self, *arguments):
        code = run([*map(str, arguments), *self.where])
        told = self.capsys.readouterr()
        return code, told.out, told.err

    def policy(self, code, on_timeout="deny"):
        file = self.folder / f"{code}.yaml"
        file.write_text(POLICY.format(code=code, on_timeout=on_timeout))
        return file

    def start(self):
        command = [sys.executable, "-m", "enforcer.cli", "worker", *self.where]
        more = ["--policy-keys", str(self.keys), "--state-dir", str(self.folder / "state")]
        with (self.folder / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                [*command, *more, "--metrics-port", str(self.port)], stdout=log, stderr=log
            )
        until_s = time.monotonic() + 60
        while not self.ready().startswith("ok"):
            assert time.monotonic() < until_s
            time.sleep(0.1)

    def stop(self):
        if self.worker is not None:
            self.worker.send_signal(signal.SIGTERM)
            self.worker.wait(20)
            self.worker = None

    def page(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return answer.read().decode()

    def ready(self):
        try:
            return self.page("/ready")
        except OSError as error:
            return str(error)

    def code_told(self):
        """The code of the rule that decides now."""

        async def ask():
            async with Gateway(self.bootstrap, prefix=self.prefix) as gateway:
                request = {
                    "id": str(time.monotonic_ns()),
                    "tenant": "acme",
                    "llm": {"provider": "openai", "model": "gpt-4o", "prompt": "Hello"},
                }
                outcome = await gateway.decide(request, deadline_ms=20_000)
                decision = outcome.decision
                return [each.code for each in decision.reasons]

        return asyncio.run(ask())

    def until(self, what):
        until_s = time.monotonic() + 20
        while not what():
            assert time.monotonic() < until_s, self.ready()
            time.sleep(0.05)

    def logged(self, event):
        """How often the worker has said so."""
        return (self.folder / "worker.log").read_text().count(f'"{event}"')

    def acked(self, scope):
        """The revision that the worker has said to have in force."""
        said = [events.decode_policy_ack(value) for _, value, _ in self.records("policy-acks")]
        return said[-1].revisions.get(scope) if said else None

    def recreate(self, *names):
        """As an administrator of the broker: topics deleted and made again."""

        async def do():
            async with KafkaBroker(BrokerConfig(bootstrap=self.bootstrap)) as broker:
                await broker.delete_topics([f"{self.prefix}.{name}" for name in names])

        asyncio.run(do())
        self.until(lambda: self("topics", "apply", "--partitions", "1")[0] == 0)

    def records(self, topic="policies"):
        """What a topic holds: key, value, headers."""

        async def read():
            async with KafkaBroker(BrokerConfig(bootstrap=self.bootstrap)) as broker:
                reader = await broker.open_reader()
                place, found = (f"{self.prefix}.{topic}", 0), []
                end = (await reader.offsets_end([place]))[place]
                reader.assign([place])
                await reader.seek_to_beginning()
                while (reader.position(*place) or 0) < end:
                    for records in (await reader.poll(200)).values():
                        found += [(r.key, r.value, r.headers) for r in records]
                await reader.close()
                return found

        return asyncio.run(read())

    def write(self, *records, topic="policies", filler=0):
        """As somebody who can write the topic, and has no key; *filler* records of no meaning first."""
        records = [(b"filler/doc/x", b"", ())] * filler + [*records]

        async def send():
            async with KafkaBroker(BrokerConfig(bootstrap=self.bootstrap)) as broker:
                producer = await broker.open_producer()
                full = f"{self.prefix}.{topic}"
                await producer.prepare([full])
                await producer.send(full, 0, [(k, v, h, None) for k, v, h in records])
                await producer.close()

        asyncio.run(send())


@pytest.fixture
def here(bootstrap, prefix, tmp_path, capsys):
    made = Installation(bootstrap, prefix, tmp_path, capsys)
    assert made("topics", "apply", "--partitions", "1")[0] == 0
    assert run(["policy", "keygen", str(made.key)]) == 0
    (made.folder / "key.pub").rename(made.keys / "first.pub")
    yield made
    made.stop()


def test_who_has_no_key_changes_nothing(here):
    """Unsigned, old and torn records are refused, told in /ready and metrics, and what was signed last decides."""
    sign = ["--sign-key", here.key]
    assert here("policy", "apply", here.policy("ONE"), *sign)[0] == 0
    here.start()
    code, out, _ = here("policy", "apply", here.policy("TWO"), *sign, "--wait", "--output", "json")
    assert (code, json.loads(out)["agents"]) == (0, 1)
    assert (here.ready(), here.code_told()) == ("ok\n", ["TWO"])
    code, _, err = here("policy", "apply", here.policy("THREE"))
    assert code == 2
    assert "policies are signed here" in err

    written = here.records()
    old_set = next(r for r in written if r[0] == b"acme/set")
    here.write(
        old_set, (b"acme/set", old_set[1], ()), (b"acme/set", None, ()), (written[0][0], None, ())
    )
    until_s = time.monotonic() + 10
    while 'enforcer_policy_refused_total{code="unsigned"} 3.0' not in here.page("/metrics"):
        assert time.monotonic() < until_s, here.page("/metrics")
        time.sleep(0.05)
    assert 'enforcer_policy_refused_total{code="older"} 1.0' in here.page("/metrics")
    assert here.ready().startswith("ok\npolicy refused: acme: not signed (offset ")
    assert here.code_told() == ["TWO"]
    here.stop()
    here.start()
    assert here.code_told() == ["TWO"]
    code, out, _ = here("policy", "list", "--policy-keys", here.keys, "--output", "jsonl")
    listed = [json.loads(line) for line in out.splitlines()]
    assert [d["problem"] for d in listed if d["problem"]] == [
        "refused: acme: not signed (offset 10)"
    ]
    assert sorted(d["id"] for d in listed if not d["problem"]) == ["acme", "p"]

    # The kill switch and deletions go the same way.
    code, out, _ = here("policy", "stop", "--tenant", "acme", *sign, "--wait", "--output", "json")
    assert (code, json.loads(out)["agents"]) == (0, 1)
    assert here.code_told() == ["stopped"]
    assert here("policy", "stop", "--tenant", "acme", "--undo", *sign, "--wait")[0] == 0
    assert here("policy", "delete", "p", *sign)[0] == 0
    until_s = time.monotonic() + 10
    while here.code_told() != []:
        assert time.monotonic() < until_s


def test_signing_begins_and_keys_change(here):
    """What is there unsigned is adopted on purpose only; two keys overlap, then the old one is worth nothing."""
    assert here("policy", "apply", here.policy("ONE"))[0] == 0
    sign = ["--sign-key", here.key]
    code, _, err = here("policy", "apply", here.policy("TWO"), *sign)
    assert code == 9
    assert "enforcer policy sign --adopt" in err
    assert here("policy", "sign", *sign)[0] == 9
    assert here("policy", "sign", "--adopt", *sign)[0] == 0
    here.start()
    assert here.code_told() == ["ONE"]

    second = here.folder / "second"
    assert run(["policy", "keygen", str(second)]) == 0
    code, _, err = here("policy", "sign", "--adopt", "--sign-key", second, "--wait")
    assert code == 8
    assert "1 of 1 agents refuse it" in err
    assert here.code_told() == ["ONE"]
    # The new key beside the old one, the running worker told by a signal: what it refused it believes now.
    (here.folder / "second.pub").rename(here.keys / "second.pub")
    here.worker.send_signal(signal.SIGHUP)
    here.until(lambda: here.ready() == "ok\n")
    both = ["--sign-key", second, "--policy-keys", here.keys, "--wait"]
    assert here("policy", "apply", here.policy("TWO"), *both)[0] == 0
    assert here.code_told() == ["TWO"]
    # The old key away, without a signal; what it signs from now on is refused.
    (here.keys / "first.pub").unlink()
    here.until(lambda: here.logged("policy_keys_changed") == 2)
    assert here.ready() == "ok\n"
    code, _, err = here(
        "policy", "apply", here.policy("THREE"), *sign, "--policy-keys", here.keys, "--wait"
    )
    assert (code, "signed by an unknown key" in err) == (8, True)
    here.stop()
    here.start()
    assert here.code_told() == ["TWO"]
    # A folder that holds no key changes nothing, and is said.
    (here.keys / "second.pub").rename(here.folder / "second.pub")
    here.worker.send_signal(signal.SIGHUP)
    here.until(lambda: "policy keys as before" in here.ready())
    assert here.code_told() == ["TWO"]


def test_no_worker_goes_back_to_an_older_set_whatever_the_topics_hold(here):
    """One that has its directory holds what was signed last; one without denies, until a newer set is signed on purpose."""
    sign = ["--sign-key", here.key]
    assert here("policy", "apply", here.policy("ONE"), *sign)[0] == 0
    old = [*here.records(), *here.records("policy-history")]
    here.start()
    assert here("policy", "apply", here.policy("TWO"), *sign, "--wait")[0] == 0
    here.until(lambda: here.acked("acme") == 2)
    here.stop()
    # Somebody deletes both topics, and makes them again with what was signed before.
    here.recreate("policies", "policy-history")
    here.write(*[r for r in old if b"/" in r[0]], filler=8)
    here.write(*[r for r in old if b"/" not in r[0]], topic="policy-history")
    here.start()
    assert "policy refused: acme: what is in force stands in no topic any more" in here.ready()
    assert here.code_told() == ["TWO"]
    here.stop()
    shutil.rmtree(here.folder / "state")
    here.start()
    assert "acme: the newest set that was signed is not to be found" in here.ready()
    assert 'enforcer_policy_refused_total{code="lost"} 1.0' in here.page("/metrics")
    assert here.code_told() == ["policy_invalid"]
    # Nobody builds on the old set by mistake; who means it says so.
    code, _, err = here("policy", "apply", here.policy("THREE"), *sign)
    assert (code, "acme (revision 2; found is 1)" in err) == (9, True)
    assert "policy sign --adopt" in err
    assert here("policy", "apply", here.policy("THREE"), *sign, "--prune", "--wait")[0] == 0
    assert here.code_told() == ["THREE"]
    assert "acme" not in here.ready()


def test_policies_deleted_and_made_again_come_back_by_an_apply(here):
    """Signed or not: a partition does not decide under an older offset, and an apply moves the new topic past it."""
    for code in ("ONE", "TWO", "THREE"):
        assert here("policy", "apply", here.policy(code), "--sign-key", here.key)[0] == 0
    here.start()
    assert here.code_told() == ["THREE"]
    here.stop()
    here.recreate("policies")
    end = here("policy", "apply", here.policy("FOUR"), "--sign-key", here.key, "--output", "json")
    assert end[0] == 0, end
    here.start()
    assert here.code_told() == ["FOUR"]
    assert here.ready() == "ok\n"


async def test_a_gateway_with_keys_believes_no_stranger(bootstrap, prefix, tmp_path):
    """What a tenant wants at a deadline is read from policies too: an unsigned `allow` is not taken."""

    def call(*arguments):
        return asyncio.to_thread(
            run, [*map(str, arguments), "--bootstrap", bootstrap, "--prefix", prefix]
        )

    key = tmp_path / "key"
    assert await asyncio.to_thread(run, ["policy", "keygen", str(key)]) == 0
    assert await call("topics", "apply", "--partitions", "1") == 0
    file = tmp_path / "p.yaml"
    file.write_text(POLICY.format(code="ONE", on_timeout="allow"))
    assert await call("policy", "apply", file) == 0
    request = {"id": "r", "tenant": "acme", "llm": {"provider": "openai", "model": "gpt-4o"}}
    acted = []
    for keys in ((), ((tmp_path / "key.pub").read_bytes(),)):
        async with Gateway(bootstrap, prefix=prefix, policy_keys=keys) as gateway:
            acted.append((await gateway.decide(request, deadline_ms=50)).acted)
    assert acted == ["timeout_allow", "timeout_deny"]


def test_a_key_is_its_owners(tmp_path, capsys):
    """keygen overwrites nothing and writes 0600; a key that others can read is not signed with."""
    key = tmp_path / "key"
    assert run(["policy", "keygen", str(key), "--output", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (len(made["key_id"]), made["public"]) == (16, f"{key}.pub")
    assert key.stat().st_mode & 0o777 == 0o600
    assert run(["policy", "keygen", str(key)]) == 6
    key.chmod(0o640)
    file = tmp_path / "p.yaml"
    file.write_text(POLICY.format(code="ONE", on_timeout="deny"))
    where = ["--bootstrap", "127.0.0.1:1", "--sign-key", str(key)]
    capsys.readouterr()
    assert run(["policy", "apply", str(file), *where]) == 2
    assert f"chmod 600 {key}" in capsys.readouterr().err
