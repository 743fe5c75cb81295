"""--kafka-config: Kafka's names, no secrets in the file, clear refusals."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from enforcer.broker.config import load
from enforcer.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_plain_addresses_need_no_file() -> None:
    """Bootstrap and prefix alone are a configuration."""
    config = load(bootstrap="a:1, b:2", prefix="x")

    assert config.topic("requests") == "x.requests"
    assert config.connection()["bootstrap_servers"] == "a:1,b:2"
    assert config.connection()["security_protocol"] == "PLAINTEXT"


@pytest.mark.parametrize("name", ["kafka.properties", "kafka.yaml"])
def test_properties_and_yaml_say_the_same(tmp_path: Path, name: str) -> None:
    """Both forms hold Kafka's own names; the secret is read from where the file says."""
    write(tmp_path / "pw", "s3cret\n")
    lines = {
        "bootstrap.servers": "k:9093",
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "worker",
        "sasl.password": f"file:{tmp_path / 'pw'}",
    }
    join = ": " if name.endswith("yaml") else "="
    text = "# a comment\n\n" + "".join(f"{k}{join}{v}\n" for k, v in lines.items())
    config = load(bootstrap=None, file=write(tmp_path / name, text))

    arguments = config.connection()
    assert arguments["bootstrap_servers"] == "k:9093"
    assert arguments["sasl_mechanism"] == "SCRAM-SHA-512"
    assert arguments["sasl_plain_password"] == "s3cret"
    assert "s3cret" not in repr(config)
    assert load(bootstrap="c:1", file=tmp_path / name).bootstrap == "c:1"


async def test_a_token_is_read_anew_each_time(tmp_path: Path) -> None:
    """OAUTHBEARER tokens rotate: the file is read whenever the client asks."""
    token = write(tmp_path / "token", "one")
    file = write(
        tmp_path / "k.properties",
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n"
        f"sasl.oauthbearer.token=file:{token}\n",
    )
    provider = load(bootstrap="k:1", file=file).connection()["sasl_oauth_token_provider"]

    assert await provider.token() == "one"
    token.write_text("two\n")
    assert await provider.token() == "two"


def test_tls_and_client_certificates(tmp_path: Path) -> None:
    """A CA and a client certificate become an SSL context that checks the host's name."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    text = (
        f"security.protocol=SSL\nssl.ca.location={certificate}\n"
        f"ssl.certificate.location={certificate}\nssl.key.location={key}\n"
    )
    context = load(bootstrap="k:1", file=write(tmp_path / "a.properties", text)).connection()[
        "ssl_context"
    ]
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1

    text += "ssl.endpoint.identification.algorithm=none\n"
    context = load(bootstrap="k:1", file=write(tmp_path / "b.properties", text)).connection()[
        "ssl_context"
    ]
    assert not context.check_hostname


@pytest.mark.parametrize(
    ("text", "says", "helps"),
    [
        ("sasl.pasword=env:P", "unknown setting `sasl.pasword`", "`sasl.password`"),
        ("ssl.ca.location", ":1: expected `name=value`", ""),
        ("client.id=a\nclient.id=b", ":2: `client.id` is set twice", ""),
        ("security.protocol=TLS", "security.protocol `TLS`", "SASL_SSL"),
        ("ssl.ca.location=/x", "`ssl.ca.location` has no effect", ""),
        ("security.protocol=SSL\nssl.ca.location=/nowhere", "certificates cannot be used", ""),
        ("security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI", "sasl.mechanism `GSSAPI`", "SCRAM"),
        ("security.protocol=SASL_SSL\nsasl.username=u", "needs sasl.username and sasl.password", ""),
        ("security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER", "needs sasl.oauthbearer.token", ""),
        ("security.protocol=SASL_SSL\nsasl.username=u\nsasl.password=env:GONE", "env:GONE cannot be read", ""),
        ("security.protocol=SSL\nssl.key.location=/k", "needs ssl.certificate.location", ""),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path: Path, text: str, says: str, helps: str) -> None:
    """Each refusal names file and setting, and what to write instead."""
    with pytest.raises(ConfigError) as caught:
        load(bootstrap="k:1", file=write(tmp_path / "k.properties", text), environment={})
    assert says in caught.value.message
    assert caught.value.help
    assert helps in caught.value.help


def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """A password written into the file is an error that does not show it."""
    text = "security.protocol=SASL_SSL\nsasl.username=u\nsasl.password=hunter" + "2"
    with pytest.raises(ConfigError) as caught:
        load(bootstrap="k:1", file=write(tmp_path / "k.properties", text), environment={})
    assert "hunter" not in caught.value.message + caught.value.help
    assert "file:" in caught.value.help


@pytest.mark.parametrize("address", ["localhost", "h:", ":9", "h:x", "h:0", "h:70000", "a:1,,b:2"])
def test_addresses_are_checked(address: str) -> None:
    """An address without a port, or with an impossible one, is no address."""
    with pytest.raises(ConfigError):
        load(bootstrap=address)


def test_no_address_at_all(tmp_path: Path) -> None:
    """Without any broker the error says how to name or start one."""
    with pytest.raises(ConfigError) as caught:
        load(bootstrap=None)
    assert "enforcer up" in caught.value.help
    with pytest.raises(ConfigError):
        load(bootstrap="k:1", file=tmp_path / "missing")
    with pytest.raises(ConfigError):
        load(bootstrap="k:1", file=write(tmp_path / "k.yaml", "- a\n"))
    with pytest.raises(ConfigError, match=r"k\.yaml:1"):
        load(bootstrap="k:1", file=write(tmp_path / "k.yaml", "a: b: c\n"))
