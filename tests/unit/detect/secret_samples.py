"""
Values of every kind of secret, made up when a test runs: no scanner finds one in this repository.

A value is drawn from the very pattern its kind is told by; what a pattern cannot say, a maker here does.
"""

from __future__ import annotations

import base64
import json
import re
import string
import zlib
from re import _constants as op
from re import _parser as parser
from typing import TYPE_CHECKING

from enforcer.detect.secrets import checks
from enforcer.detect.secrets.contextual import CONTEXTUAL
from enforcer.detect.secrets.prefixed import PREFIXED

if TYPE_CHECKING:
    import random

ALPHANUMERIC = string.ascii_letters + string.digits
NAMES = {kind: names for kind, names, _ in CONTEXTUAL}
VALUES = {kind: value for kind, _, value in CONTEXTUAL}
MARKS = dict(PREFIXED)


def draw(source: str, rng: random.Random) -> str:
    """A text that a pattern matches, every choice drawn."""
    return "".join(_parts(parser.parse(source), rng))


def _parts(nodes, rng: random.Random):
    for code, value in nodes:
        if code is op.LITERAL:
            yield chr(value)
        elif code is op.IN:
            yield rng.choice(_members(value))
        elif code in (op.MAX_REPEAT, op.MIN_REPEAT):
            least, most, inner = value
            for _ in range(rng.randint(least, min(int(most), least + 8))):
                yield from _parts(inner, rng)
        elif code is op.SUBPATTERN:
            yield from _parts(value[3], rng)
        elif code is op.BRANCH:
            yield from _parts(rng.choice(value[1]), rng)
        elif code is op.ANY:
            yield rng.choice("_-")
        else:
            raise AssertionError(code)


def _members(items) -> list[str]:
    found: list[str] = []
    for code, value in items:
        if code is op.LITERAL:
            found.append(chr(value))
        elif code is op.RANGE:
            found += [chr(point) for point in range(value[0], value[1] + 1)]
        elif code is op.CATEGORY:
            assert value is op.CATEGORY_DIGIT, value
            found += string.digits
        else:
            raise AssertionError(code)
    return found


def _letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(ALPHANUMERIC, k=count))


def _github(prefix: str, rng: random.Random) -> str:
    body = _letters(rng, 30)
    number, check = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        check = checks._BASE62[digit] + check
    return prefix + body + check


def _grafana(rng: random.Random) -> str:
    body = _letters(rng, 32)
    return f"glsa_{body}_{zlib.crc32(body.encode()):08x}"


def _jwt(rng: random.Random) -> str:
    def part(value: dict) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    signature = base64.urlsafe_b64encode(rng.randbytes(32)).decode().rstrip("=")
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': rng.random()})}.{signature}"


def _pem(rng: random.Random) -> str:
    name = rng.choice(["RSA ", "EC ", "OPENSSH ", ""]) + "PRIVATE KEY"
    body = "\n".join([_letters(rng, 64) for _ in range(6)])
    return f"-----BEGIN {name}-----\n{body}\n-----END {name}-----"


def _password(rng: random.Random) -> str:
    return rng.choice("KTZ") + _letters(rng, 9) + rng.choice("!%+") + rng.choice(string.digits)


_SCHEMES = {
    "postgres_url": "postgresql", "mysql_url": "mysql", "mongodb_url": "mongodb+srv", "redis_url": "rediss",
    "amqp_url": "amqps", "mssql_url": "jdbc:oracle", "ftp_url": "sftp", "smtp_url": "smtps", "url_password": "https",
}  # fmt: skip


def sample(kind: str, rng: random.Random) -> tuple[str, str]:
    """A text that holds a secret of *kind*, and the secret as it has to be found."""
    if kind in checks.CHECKSUMS:
        value = _grafana(rng) if kind.startswith("grafana") else _github(MARKS[kind][:4], rng)
        return f"token {value}, please", value
    if kind in MARKS:
        value = draw(MARKS[kind], rng)
        return rng.choice(["key: {}", "use {} now", "({})", "\n{}\n", "x='{}'"]).format(
            value
        ), value
    if kind in VALUES:
        value = draw(VALUES[kind], rng)
        while value.isalpha() or value.isdigit():
            value = draw(VALUES[kind], rng)
        name = draw(re.sub(r"\.\{0,\d+\}", "_", NAMES[kind]), rng)
        form = rng.choice(["{}_KEY={}", '"{}_token": "{}"', "{} secret = '{}'", "{}: {}"])
        return form.format(name, value), value
    if kind in _SCHEMES:
        value = _password(rng).replace("+", "_")
        return f"{_SCHEMES[kind]}://admin:{value}@db.internal:5432/x", value
    made = {
        "private_key": _pem,
        "jwt": _jwt,
        "bearer_token": lambda r: _letters(r, 30) + "7",
        "basic_auth": lambda r: base64.b64encode(f"user:{_password(r)}".encode()).decode(),
        "putty_private_key": lambda r: f"PuTTY-User-Key-File-{r.choice('23')}: ssh-rsa",
        "password_hash": lambda r: "$2b$12$" + _letters(r, 53),
        "generic_secret": _password,
    }[kind](rng)
    leads = {
        "bearer_token": "Authorization: Bearer ",
        "basic_auth": "Authorization: Basic ",
        "generic_secret": 'db_password = "',
    }
    return leads.get(kind, "here: ") + made + ('"' if kind == "generic_secret" else ""), made
