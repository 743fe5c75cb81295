"""``audit verify``, ``tail`` and ``send`` over the real broker and over files, as commands."""

import asyncio
import base64
import json
import subprocess
import sys
import threading

import pytest

from enforcer import events
from enforcer.audit.chain import Chain
from enforcer.broker import BrokerConfig, KafkaBroker, NewTopicSpec

PARTITIONS = 2
COUNT = 7


def enforcer(*arguments, stdin=b""):
    done = subprocess.run(
        [sys.executable, "-m", "enforcer.cli", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def decision(number, verdict="allow"):
    return events.Decision(
        id=f"d{number}",
        request_id=f"r{number}",
        attempt=1,
        tenant="acme",
        account="acme",
        verdict=verdict,
        http_status=200,
        reasons=[events.Reason("p", "r", verdict, "CODE", "because")],
        policy_digest="",
        data_digest="",
        engine="test",
        source=events.Source("requests", 0, number, 0, 0, 0),
        time_us=1_700_000_000_000_000,
    )


def chain_values(count=COUNT):
    chain = Chain()
    source = events.Source("requests", 0, 0, 0, 0, 0)
    return [
        chain.append(
            "decision",
            "acme",
            1_700_000_000_000_000 + number,
            source,
            events.encode(decision(number, "deny" if number == 3 else "allow")),
        )
        for number in range(count)
    ]


async def fill(bootstrap, prefix, partitions):
    """Write the chains in a transaction each; an aborted one lies between."""
    broker = KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix))
    await broker.start()
    topic = f"{prefix}.audit"
    await broker.create_topics([NewTopicSpec(topic, PARTITIONS, 1)])
    for partition, values in partitions.items():
        records = [(b"acme", value, (), None) for value in values]
        for wanted in (records[:2], None, records[2:]):
            ledger = broker.open_ledger(f"{prefix}-{partition}")
            await ledger.start()
            await ledger.begin()
            if wanted is None:
                await ledger.send(topic, partition, [(b"acme", b"never committed", (), None)])
                await ledger.abort()
            elif wanted:
                ledger.send(topic, partition, wanted)
                await ledger.commit()
            await ledger.close()
    await broker.stop()


@pytest.fixture
def broker_options(bootstrap, prefix):
    return ["--bootstrap", bootstrap, "--prefix", prefix]


def test_a_whole_topic_is_verified_and_its_archive_too(bootstrap, prefix, broker_options, tmp_path):
    """Exit 0 from the topic, read committed, and from the file that ``tail --output raw`` writes."""
    values = chain_values()
    asyncio.run(fill(bootstrap, prefix, {0: values, 1: values[:4]}))
    status, out, err = enforcer("audit", "verify", *broker_options, "--output", "json")
    assert status == 0, err
    report = json.loads(out)
    assert report["whole"]
    assert not report["anchored"]
    assert report["kinds"] == {"decision": COUNT + 4}
    head = report["partitions"][0]["head"]
    assert head == values[-1][-32:].hex()

    status, raw, _ = enforcer("tail", "audit", *broker_options, "--no-follow", "-o", "raw")
    assert status == 0
    archive = tmp_path / "audit.jsonl"
    archive.write_text(raw)
    anchors = ["--from", "0:start", "--head", f"0:{COUNT - 1}:{head}"]
    anchors += ["--head", f"1:3:{values[3][-32:].hex()}"]
    status, out, err = enforcer("audit", "verify", archive, *anchors)
    assert status == 0, err
    assert "chains whole, anchored" in err
    assert head in out

    # A line taken out, one changed, and an anchor that knows more.
    lines = raw.splitlines()
    archive.write_text("\n".join(lines[:2] + lines[3:]))
    status, _, err = enforcer("audit", "verify", archive)
    assert status == 9
    assert "record 2" in err
    assert "missing" in err
    bad = json.loads(lines[1])
    value = bytearray(base64.b64decode(bad["value"]))
    value[40] ^= 1
    bad["value"] = base64.b64encode(value).decode()
    archive.write_text("\n".join([lines[0], json.dumps(bad), *lines[2:]]))
    status, _, err = enforcer("audit", "verify", archive)
    assert (status, "is modified" in err) == (9, True)
    status, _, err = enforcer("audit", "verify", "-", "--head", f"0:99:{head}", stdin=raw.encode())
    assert (status, "is truncated" in err) == (9, True)


def test_a_forked_topic_fails_and_an_empty_one_is_nothing(bootstrap, prefix, broker_options):
    """Exit 9 names partition, record and kind; exit 5 where there is nothing to verify."""
    asyncio.run(fill(bootstrap, prefix, {}))
    status, _, err = enforcer("audit", "verify", *broker_options)
    assert (status, "nothing to verify" in err) == (5, True)
    values = chain_values()
    asyncio.run(fill(bootstrap, prefix, {1: [*values, chain_values(3)[2]]}))
    status, _, err = enforcer("audit", "verify", *broker_options)
    assert status == 9
    assert "partition 1: record 2" in err
    assert "is duplicated" in err
    status, _, err = enforcer("audit", "verify", *broker_options, "--from", "nonsense")
    assert (status, "no anchor" in err) == (2, True)


def test_tail_prints_what_its_filters_let_through(bootstrap, prefix, broker_options):
    """Filters look into the decision of an audit record; --max ends; a follower follows."""
    asyncio.run(fill(bootstrap, prefix, {0: chain_values()}))
    tail = ("tail", "audit", *broker_options, "--no-follow")
    status, out, _ = enforcer(*tail, "-o", "jsonl", "--filter", "verdict=deny")
    (only,) = map(json.loads, out.splitlines())
    assert status == 0
    assert (only["sequence"], only["decision"]["request_id"]) == (3, "r3")
    status, out, _ = enforcer(*tail, "--max", 2)
    assert (status, len(out.splitlines())) == (0, 2)
    assert "CODE p/r: because" in out
    status, out, _ = enforcer("tail", "audit", *broker_options, "--from-beginning", "--max", COUNT)
    assert (status, len(out.splitlines())) == (0, COUNT)
    status, _, err = enforcer(*tail, "--filter", "verdict")
    assert (status, "no filter" in err) == (2, True)
    status, _, _ = enforcer("tail", "decisions", *broker_options, "--no-follow")
    assert status == 5


REQUEST = {
    "id": "r1",
    "tenant": "acme",
    "llm": {"provider": "openai", "model": "gpt-4o", "prompt": "Hello"},
}


async def answer(bootstrap, prefix, ready, count):
    """Decide *count* requests, as an agent would: JSON by JSON."""
    broker = KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix))
    await broker.start()
    names = {"requests": 2, "decisions": 2, "usage": 2, "policies": 1}
    await broker.create_topics([NewTopicSpec(f"{prefix}.{n}", c, 1) for n, c in names.items()])
    reader, producer = await broker.open_reader(), await broker.open_producer()
    reader.assign([(f"{prefix}.requests", 0), (f"{prefix}.requests", 1)])
    await reader.seek_to_beginning()
    ready.set()
    async with asyncio.timeout(60):
        while count:
            for (_, partition), records in (await reader.poll(100)).items():
                for record in records:
                    name = events.read_request(record.value).id
                    verdict = "deny" if name == "r2" else "allow"
                    told = events.to_json_bytes(decision(int(name.removeprefix("r")), verdict))
                    out = (record.key, told, record.headers, None)
                    await producer.send(f"{prefix}.decisions", partition, [out])
                    count -= 1
    await reader.close()
    await producer.close()
    await broker.stop()


def test_send_prints_a_verdict_a_line_and_names_bad_lines(bootstrap, prefix, broker_options):
    """Verdicts come in the order of the file; a bad line is named by number, exit 2, unless skipped."""
    ready = threading.Event()
    agent = threading.Thread(
        target=lambda: asyncio.run(answer(bootstrap, prefix, ready, 4)), daemon=True
    )
    agent.start()
    assert ready.wait(30)
    lines = [json.dumps({**REQUEST, "id": name}) for name in ("r1", "r2", "r3")]
    send = ("send", "-", *broker_options, "-o", "jsonl", "--deadline-ms", 20_000)
    bad = "\n".join([lines[0], '{"id": "r7"}', lines[1], "", lines[2]]).encode()
    status, out, err = enforcer(*send, "--skip", stdin=bad)
    assert status == 0, err
    told = [json.loads(line) for line in out.splitlines()]
    assert [(t["request_id"], t["verdict"]) for t in told] == [
        ("r1", "allow"),
        ("r2", "deny"),
        ("r3", "allow"),
    ]
    assert told[1]["decision"]["reasons"][0]["code"] == "CODE"
    assert "-:2: " in err
    first = json.dumps({**REQUEST, "id": "r8"})
    status, out, err = enforcer(*send, stdin=f"{first}\nno json\n{first}\n".encode())
    assert status == 2
    assert [json.loads(line)["request_id"] for line in out.splitlines()] == ["r8"]
    assert "-:2: no JSON" in err
    agent.join(30)
    assert enforcer("send", "/no/such/file", *broker_options)[0] == 5
