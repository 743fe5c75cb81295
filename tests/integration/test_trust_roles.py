"""Each role does its work under exactly the ACLs that `topics acls` gives it, and nothing beyond."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
import uuid

import pytest

from enforcer.broker import KafkaBroker, acls, load, topics
from enforcer.cli.main import run
from enforcer.client import Gateway
from enforcer.errors import AuthError
from enforcer.local import ports

pytestmark = pytest.mark.xdist_group("secured")

POLICY = """\
apiVersion: enforcer/v1
kind: Policy
metadata: {id: p, tenant: acme}
spec: {rules: [{id: a, condition: {operator: eq, field: llm.model, value: gpt-4o}, then: deny, code: NO}]}
---
apiVersion: enforcer/v1
kind: Tenant
metadata: {id: acme}
spec: {}
"""


class Company:
    """An installation on the secured broker, one principal a role."""

    def __init__(self, secured, folder):
        self.secured, self.folder = secured, folder
        self.prefix = f"t{uuid.uuid4().hex[:12]}"
        self.files = {
            role: secured.mtls(self.name(role)) if role == "gateway" else secured.scram(self.name(role))
            for role in acls.ROLES
        }  # fmt: skip
        self.ports = ports.choose(1)

    def name(self, role):
        return f"{self.prefix}-{role}"

    def where(self, role):
        bootstrap = self.secured.bootstrap("MTLS" if role == "gateway" else "SCRAM")
        file = str(self.files[role])
        return ["--bootstrap", bootstrap, "--prefix", self.prefix, "--kafka-config", file]

    def run(self, role, *arguments):
        return run([*arguments, *self.where(role)])

    def config(self, role):
        return load(bootstrap=None, prefix=self.prefix, file=self.files[role])

    def start_worker(self):
        command = [sys.executable, "-m", "enforcer.cli", "worker", *self.where("worker")]
        state = ["--state-dir", str(self.folder / "state"), "--metrics-port", str(self.ports[0])]
        with (self.folder / "worker.log").open("wb") as log:
            self.worker = subprocess.Popen([*command, *state], stdout=log, stderr=log)

    def stop_worker(self):
        self.worker.send_signal(signal.SIGTERM)
        return self.worker.wait(20)


async def ask_and_report(company):
    """A denied and an allowed call, and what the second used; what was told: model, verdict, by timeout."""
    told = []
    gateway = Gateway(
        company.secured.bootstrap("MTLS"),
        prefix=company.prefix,
        kafka_config=company.files["gateway"],
    )
    async with gateway:
        for model in ("gpt-4o", "gpt-4o-mini"):
            request = {
                "id": model,
                "tenant": "acme",
                "llm": {"provider": "openai", "model": model, "prompt": "Hello"},
            }
            outcome = await gateway.decide(request, deadline_ms=30_000)
            told.append((model, outcome.verdict, outcome.by_timeout))
        await gateway.report(
            {"request_id": "gpt-4o-mini", "tenant": "acme", "input_tokens": 1, "output_tokens": 1}
        )
    return told


@pytest.fixture(scope="module")
def company(secured, tmp_path_factory):
    """Topics, policies and a worker, each made by the role whose work it is."""
    made = Company(secured, tmp_path_factory.mktemp("company"))
    admin = ["--bootstrap", secured.plain, "--prefix", made.prefix]
    assert run(["topics", "acls", "--apply", *admin]) == 0
    assert made.run("operator", "topics", "apply", "--partitions", "2") == 0
    policy = made.folder / "p.yaml"
    policy.write_text(POLICY)
    assert made.run("policy-author", "policy", "apply", str(policy)) == 0
    made.start_worker()
    try:
        made.told = asyncio.run(ask_and_report(made))
        yield made
    finally:
        made.stop_worker()


def test_the_author_hears_of_every_agent(company, capsys):
    """`policy apply --wait` reads acks; the worker has taken its partitions over under its own ACLs."""
    file = company.folder / "p.yaml"
    assert (
        company.run("policy-author", "policy", "apply", str(file), "--wait", "--timeout", "60") == 0
    )
    assert "2 of 2 agents" in capsys.readouterr().out  # fmt: skip


def test_a_gateway_asks_and_reports_by_its_certificate(company):
    """Verdicts come back over mTLS."""
    assert company.told == [("gpt-4o", "deny", False), ("gpt-4o-mini", "allow", False)]


def test_an_auditor_verifies_and_replay_replays(company, capsys):
    """Reading alone is enough for both."""
    assert company.run("auditor", "audit", "verify") == 0
    assert company.run("auditor", "policy", "list") == 0
    within_s = time.monotonic() + 30  # The ledger follows its verdicts when it can.
    while (code := company.run("replay", "replay", "--output", "json")) == 5:
        assert time.monotonic() < within_s, capsys.readouterr().err
        time.sleep(0.5)
    assert code == 0
    told = capsys.readouterr().out
    assert json.loads(told[told.rindex("\n{") :])["identical"] is True


def test_an_operator_looks_and_mends(company, capsys):
    """`topics diff` and `doctor` need no right to read a prompt."""
    assert company.run("operator", "topics", "diff") == 0
    capsys.readouterr()
    state = ["--state-dir", str(company.folder / "other")]
    assert company.run("operator", "doctor", "--output", "json", *state) == 0
    lines = {line["check"]: line for line in json.loads(capsys.readouterr().out)["checks"]}
    assert lines["ACLs"]["status"] == "ok"
    assert lines["certificates"]["status"] == "warn"  # They end tomorrow.
    assert lines["clock"]["status"] == "ok"


BEYOND = [
    ("gateway", "write", "policies"),
    ("gateway", "write", "decisions"),
    ("gateway", "read", "requests"),
    ("gateway", "read", "audit"),
    ("worker", "write", "policies"),
    ("worker", "write", "policy-history"),
    ("worker", "write", "requests"),
    ("policy-author", "read", "requests"),
    ("policy-author", "write", "audit"),
    ("auditor", "read", "requests"),
    ("auditor", "write", "audit"),
    ("replay", "write", "usage"),
    ("replay", "read", "dead-letters"),
    ("operator", "read", "requests"),
    ("operator", "write", "policies"),
]


@pytest.mark.parametrize(("role", "does", "topic"), BEYOND)
async def test_a_role_is_refused_beyond_its_own(company, role, does, topic):
    """Exit code 7 is what a verb makes of it."""
    async with KafkaBroker(company.config(role)) as broker:
        with pytest.raises(AuthError):
            async with asyncio.timeout(10):
                await (write if does == "write" else read)(broker, f"{company.prefix}.{topic}")


async def write(broker, topic):
    producer = await broker.open_producer()
    try:
        await producer.prepare([topic])
        await producer.send(topic, 0, [(b"k", b"v", (), None)])
    finally:
        await producer.close()


async def read(broker, topic):
    reader = await broker.open_reader()
    try:
        reader.assign([(topic, 0)])
        await reader.seek_to_beginning((topic, 0))
        while True:
            await reader.poll(200)
    finally:
        await reader.close()


@pytest.mark.parametrize(
    ("role", "name"), [("worker", "{}.policies"), ("policy-author", "{}-0"), ("auditor", "{}-0")]
)
async def test_nobody_fences_another_role(company, role, name):
    """A transactional id is a right too: who holds it ends its owner's transaction."""
    async with KafkaBroker(company.config(role)) as broker:
        ledger = broker.open_ledger(name.format(company.prefix))
        try:
            with pytest.raises(AuthError):
                await ledger.start()
        finally:
            await ledger.close()


@pytest.mark.parametrize("role", [role for role in acls.ROLES if role != "operator"])
async def test_only_an_operator_looks_at_acls_and_makes_topics(company, role):
    """And nobody of ours grants any."""
    wanted = acls.required(topics.load_specs(), prefix=company.prefix, group=company.prefix)
    async with KafkaBroker(company.config(role)) as broker:
        with pytest.raises(AuthError):
            await broker.acls()
        with pytest.raises(AuthError):
            await broker.grant([wanted[0].acl])


async def test_what_is_granted_is_what_was_printed(company):
    """The broker holds exactly the list, for these principals."""
    wanted = acls.required(topics.load_specs(), prefix=company.prefix, group=company.prefix)
    async with KafkaBroker(company.config("operator")) as broker:
        have = await broker.acls()
    ours = {acl for acl in have if acl.principal.startswith(f"User:{company.prefix}-")}
    assert ours == {each.acl for each in wanted}


def test_the_worker_is_ready_and_logs_no_secret(company):
    """Its log and its metrics hold no password; it stops as it should."""
    with urllib.request.urlopen(f"http://127.0.0.1:{company.ports[0]}/metrics", timeout=5) as page:
        told = page.read().decode()
    assert company.stop_worker() == 0
    told += (company.folder / "worker.log").read_text()
    assert "agent_ready" in told
    assert "secret_readable_by_others" not in told
    assert not [p for p in company.secured.passwords.values() if p in told]
    company.start_worker()
