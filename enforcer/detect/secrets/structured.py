"""
Secrets told by the form of what holds them: private keys, tokens with a header, addresses and
headers with a password, and assignments of something random to a name that says secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enforcer.detect import clues
from enforcer.detect.recogniser import (
    Candidate,
    Recogniser,
    TooManyPlacesError,
    pattern,
    spans,
    word_before,
)
from enforcer.detect.secrets.checks import entropy, is_jwt, is_placeholder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PEM_BEGIN = pattern(
    rb"-----BEGIN ((?:RSA |DSA |EC |OPENSSH |ENCRYPTED |PGP )?PRIVATE KEY(?: BLOCK)?)-----"
)
_PEM_CHARACTERS_MAX = 16 * 1024
_JWT = pattern(rb"eyJ[A-Za-z0-9_\-]{8,}\.(?:eyJ)?[A-Za-z0-9_\-]{4,}\.(?:[A-Za-z0-9_\-]{6,})?")
_URL = pattern(
    rb"(?i)([a-z][a-z0-9+.\-]{1,30})://([^\s/:@\"'<>`]{0,128}):([^\s/@\"'<>`]{1,256})@[^\s/\"'<>`]{1,256}"
)
_BEARER = pattern(rb"(?i)\bbearer\s{1,4}([A-Za-z0-9_\-.~+/=]{16,1000})")
_BASIC = pattern(rb"(?i)\bbasic\s{1,4}([A-Za-z0-9+/]{12,512}={0,2})")
_PUTTY = pattern(rb"PuTTY-User-Key-File-[23]: [^\n]{1,64}")
_HASH = pattern(
    rb"\$(?:2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}|apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}|6\$[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}|argon2id\$v=\d+\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]{8,64}\$[A-Za-z0-9+/]{20,120})"
)
_OWNERS = rb"(?:api|access|auth|account|app|master|shared|signing|encryption|private|service|session|storage|admin|root|user|db|database|client|consumer|webhook|deploy|license)"
_NAMES = (
    rb"(?:" + _OWNERS + rb"[_\-. ]?(?:key|secret|token|pass(?:word|wd|phrase)?|pwd|credentials?)"
    rb"|secret(?:[_\-. ]?key)?|password|passwd|passphrase|pwd|token|apikey|credentials?)"
)
_ASSIGNED = pattern(
    rb"(?i)"
    + _NAMES
    + rb"[A-Za-z0-9_\-]{0,24}[\"'`]?\]?\s{0,4}(?::=|=>|=|:|\bis\b)\s{0,4}(?:[\"'`]([^\s\"'`]{6,256})[\"'`]|([^\s\"'`,;<>(){}\[\]]{8,256}))"
)
_PASSWORD_NAME = pattern(rb"(?i)pass|pwd")
_CODE = pattern(
    rb"^(?:(?:process|os|config|settings|env|self|this|ctx|req|request|app|secrets|vault|var|local|data)(?:\.\w+)+|[a-z_]+(?:\.[a-z_]+)+|[A-Za-z_]+|[a-z]+(?:[A-Z][a-z]+)+|[A-Z]+(?:_[A-Z]+)+|/[\w./\-]*|\$\w+|@\w+|https?:.*|[\d.,:\-/]+|(?:[a-z]+[_\-])+[a-z]+)$"
)
# Bits a character that a random value has, and that a word of the same length has not.
_ENTROPY_MIN = 3.0
_ENTROPY_PASSWORD_MIN = 2.5
_PASSWORD_LENGTH_MAX = 20
_TOKEN_LENGTH_MIN = 16
_PLACES_MAX = 20_000


def _find_pem(data: bytes) -> Iterator[Candidate]:
    at = 0
    while True:
        match = _PEM_BEGIN.search(data, at)
        if match is None:
            return
        start, body = match.span()
        end_mark = b"-----END " + match.group(1) + b"-----"
        end = data.find(end_mark, body, body + _PEM_CHARACTERS_MAX)
        # A key whose end is cut off is one all the same: from its mark to where the text may hold it.
        stop = min(len(data), body + _PEM_CHARACTERS_MAX) if end < 0 else end + len(end_mark)
        while stop < len(data) and data[stop] & 0xC0 == 0x80:
            stop += 1
        content = data[body : end if end >= 0 else stop]
        if len(content.strip()) >= 32 and not is_placeholder(content.strip()[:400]):
            yield Candidate(start, stop, 0.99 if end >= 0 else 0.9, "PEM block")
        at = stop


def _find_jwt(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_JWT, data):
        if word_before(data, start) or not is_jwt(data[start:end]):
            continue
        signed = data[end - 1] != 46
        yield Candidate(start, end, 0.95 if signed else 0.4, "JSON header names an algorithm")


_SCHEMES: dict[str, bytes] = {
    "postgres_url": rb"postgres(?:ql)?(?:\+\w+)?",
    "mysql_url": rb"(?:mysql|mariadb)(?:\+\w+)?",
    "mongodb_url": rb"mongodb(?:\+srv)?",
    "redis_url": rb"rediss?",
    "amqp_url": rb"amqps?",
    "mssql_url": rb"(?:mssql|sqlserver|oracle|clickhouse|cockroachdb|jdbc:\w+)(?:\+\w+)?",
    "ftp_url": rb"s?ftps?",
    "smtp_url": rb"(?:smtps?|imaps?|ldaps?)",
}
_SCHEME_PATTERNS = {kind: pattern(rb"(?i)^" + source + rb"$") for kind, source in _SCHEMES.items()}


def _url_finder(kind: str) -> Callable[[bytes], Iterator[Candidate]]:
    mine = _SCHEME_PATTERNS.get(kind)

    def find(data: bytes) -> Iterator[Candidate]:
        for match in _URL.finditer(data):
            scheme, password = match.group(1), match.group(3)
            if mine is not None:
                if not mine.search(scheme):
                    continue
            elif any(other.search(scheme) for other in _SCHEME_PATTERNS.values()):
                continue
            if is_placeholder(password) or password.lower() in _NO_PASSWORDS:
                continue
            yield Candidate(match.start(3), match.end(3), 0.9, "password in an address")

    return find


_NO_PASSWORDS = frozenset(
    {b"password", b"pass", b"pwd", b"secret", b"$password", b"port", b"token"}
)


def _find_bearer(data: bytes) -> Iterator[Candidate]:
    for match in _BEARER.finditer(data):
        value = match.group(1)
        if not is_placeholder(value) and entropy(value) >= _ENTROPY_MIN and _has_digit(value):
            yield Candidate(match.start(1), match.end(1), 0.85, "bearer token")


def _find_basic(data: bytes) -> Iterator[Candidate]:
    import base64  # noqa: PLC0415 — one use

    for match in _BASIC.finditer(data):
        value = match.group(1)
        try:
            decoded = base64.b64decode(value + b"=" * (-len(value) % 4))
        except ValueError:
            continue
        user, colon, password = decoded.partition(b":")
        if colon and password and decoded.isascii() and (user + password).decode().isprintable():
            yield Candidate(match.start(1), match.end(1), 0.9, "user and password in base64")


def _find_putty(data: bytes) -> Iterator[Candidate]:
    for match in _PUTTY.finditer(data):
        yield Candidate(match.start(), match.end(), 0.9, "header of a PuTTY key")


def _find_hashes(data: bytes) -> Iterator[Candidate]:
    for match in _HASH.finditer(data):
        yield Candidate(match.start(), match.end(), 0.8, "hash of a password")


def _find_assigned(data: bytes) -> Iterator[Candidate]:
    for places, match in enumerate(_ASSIGNED.finditer(data)):
        if places == _PLACES_MAX:
            raise TooManyPlacesError
        group = 1 if match.group(1) is not None else 2
        value = match.group(group)
        if is_placeholder(value) or _CODE.search(value):
            continue
        name = data[match.start() : match.start(group)]
        confidence = _assigned_confidence(name, value, quoted=group == 1)
        if confidence:
            start, end = match.span(group)
            while end > start + 1 and data[end - 1] in b".,;:!?)":
                end -= 1
            yield Candidate(start, end, confidence, "assigned to a name that says secret")


def _assigned_confidence(name: bytes, value: bytes, *, quoted: bool) -> float:
    bits = entropy(value)
    classes = (
        any(97 <= byte <= 122 for byte in value)
        + any(65 <= byte <= 90 for byte in value)
        + _has_digit(value)
        + any(not (48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122) for byte in value)
    )
    if _PASSWORD_NAME.search(name):
        if classes >= 3 and bits >= _ENTROPY_PASSWORD_MIN:
            return 0.85 if quoted else 0.7
        if classes == 2 and _has_digit(value) and bits >= _ENTROPY_PASSWORD_MIN:
            return 0.6
        return 0.0
    if len(value) >= _TOKEN_LENGTH_MIN and _has_digit(value) and classes >= 2:
        return (0.8 if quoted else 0.7) if bits >= _ENTROPY_MIN else 0.35
    if classes >= 3 and bits >= _ENTROPY_MIN and len(value) >= 10:
        return 0.6
    return 0.0


def _has_digit(value: bytes) -> bool:
    return any(48 <= byte <= 57 for byte in value)


def _secret(
    kind: str,
    patterns: tuple[bytes, ...],
    find: Callable[[bytes], Iterator[Candidate]],
    rank: int,
    clue: int = clues.TOKEN,
) -> Recogniser:
    return Recogniser(kind, patterns, find, rank, None, "secrets", clue)


RECOGNISERS: tuple[Recogniser, ...] = (
    _secret("private_key", (rb"-----BEGIN [A-Z ]*PRIVATE KEY",), _find_pem, 100, clues.NONE),
    _secret("jwt", (rb"eyJ[A-Za-z0-9_\-]{8}",), _find_jwt, 60),
    *(
        _secret(
            kind,
            (rb"(?i)\b" + source + rb"://[^\s/@]*:[^\s/@]*@",),
            _url_finder(kind),
            55,
            clues.LOGIN,
        )
        for kind, source in _SCHEMES.items()
    ),
    _secret(
        "url_password", (rb"://[^\s/@:]*:[^\s/@]*@",), _url_finder("url_password"), 50, clues.NONE
    ),
    _secret("bearer_token", (rb"(?i)\bbearer\s{1,4}[A-Za-z0-9_\-.~+/=]{8}",), _find_bearer, 30),
    _secret("basic_auth", (rb"(?i)\bbasic\s{1,4}[A-Za-z0-9+/]{8}",), _find_basic, 40, clues.NONE),
    _secret("putty_private_key", (rb"PuTTY-User-Key-File-",), _find_putty, 90),
    _secret("password_hash", (rb"\$(?:2[aby]|apr1|6|argon2id)\$",), _find_hashes, 90),
    _secret(
        "generic_secret",
        (
            rb"(?i)(?:key|secret|token|pass(?:word|wd|phrase)?|pwd|credentials?)[A-Za-z0-9_\-]*[\"'`]?\]?\s*(?:[:=]|is\s)",
        ),
        _find_assigned,
        10,
        clues.NONE,
    ),
)
