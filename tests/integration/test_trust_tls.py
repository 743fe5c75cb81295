"""TLS, mTLS and SASL on a real listener: who is let in, and one clear line for whoever is not."""

import asyncio
import datetime as dt

import pytest
import secured_kafka

from enforcer.broker import KafkaBroker, load
from enforcer.cli.main import run
from enforcer.errors import AuthError

pytestmark = pytest.mark.xdist_group("secured")


async def count(file, bootstrap=None):
    """Brokers, as whoever *file* says we are."""
    async with KafkaBroker(load(bootstrap=bootstrap, file=file)) as broker:
        return await broker.broker_count()


@pytest.fixture(scope="module")
def stranger(secured):
    """An authority that nobody trusts."""
    return secured_kafka.Authority(secured.folder, "nobody")


async def test_a_password_and_a_certificate_let_in(secured):
    """SASL_SSL with SCRAM-SHA-512, and mTLS."""
    assert await count(await asyncio.to_thread(secured.scram, "anna")) == 1
    assert await count(secured.mtls("boris")) == 1


@pytest.mark.parametrize(
    ("who", "says", "fix"),
    [
        (lambda s, _: s.tls("EXPIRED"), "certificate has expired", "renew it"),
        (lambda s, _: s.tls("STRANGER"), "is for another name", "name the broker as"),
        (lambda s, x: s.scram("clara", ca=x.file), "signed by nobody we trust", "ssl.ca.location"),
        (lambda s, _: s.tls("MTLS"), "closes the connection", "may want a client's certificate"),
        (
            lambda s, x: s.mtls("dora", certificate=x.issue("dora")),
            "closes the connection",
            "may not trust ssl.certificate.location",
        ),
        (
            lambda s, _: s.mtls("emil", certificate=s.authority.issue("emil", ends=-secured_kafka.DAY)),
            "closes the connection",
            "not any more",
        ),
    ],
    ids=["expired", "another host", "wrong authority", "no certificate", "foreign certificate", "own one expired"],
)  # fmt: skip
def test_who_is_refused_is_told_why_and_ends_with_7(secured, stranger, capsys, who, says, fix):
    """One line and its fix; never a trace, never 8 for what a restart of the broker would not mend."""
    file = who(secured, stranger)
    assert run(["topics", "diff", "--kafka-config", str(file), *where(file)]) == 7
    error, helped = capsys.readouterr().err.splitlines()
    assert says in error
    assert fix in helped


def where(file):
    """The bootstrap of a file: for verbs that would look for the local stack."""
    return ["--bootstrap", file.read_text().split("bootstrap.servers=")[1].splitlines()[0]]


def test_a_wrong_password_is_refused_and_not_shown(secured, capsys, caplog):
    """Neither the message nor the log holds it."""
    secured.scram("frida")
    wrong = "wrong-" + secured_kafka.secrets.token_hex(8)
    file = secured.scram("frida", password=wrong)
    assert run(["topics", "diff", "--kafka-config", str(file), *where(file)]) == 7
    told = capsys.readouterr()
    assert len(told.err.splitlines()) == 2
    assert "sasl.username and sasl.password" in told.err
    assert wrong not in told.err + told.out + caplog.text


async def test_plain_words_to_a_tls_listener_are_refused(secured):
    """The other way round too: TLS to a plain listener."""
    with pytest.raises(AuthError, match="closes the connection") as refused:
        await count(None, secured.bootstrap("MTLS"))
    assert "security.protocol" in refused.value.help
    with pytest.raises(AuthError, match="closes the connection") as refused:
        await count(secured.tls("SCRAM"), secured.plain)
    assert "no TLS listener" in refused.value.help


async def test_certificates_tell_when_they_end(secured):
    """The broker's and our own, for `doctor`."""
    from enforcer.broker import tls

    config = load(bootstrap=None, file=secured.mtls("gerd"))
    now = dt.datetime.now(dt.UTC)
    theirs = await tls.broker_certificate(config.bootstrap, config.security["ssl_context"])
    assert (theirs.subject, theirs.ends > now) == ("CN=broker-mtls", True)
    assert tls.own_certificate(config.certificate_file).subject == "CN=gerd"
