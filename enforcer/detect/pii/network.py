"""Addresses in networks: e-mail and IP."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv6Address
from typing import TYPE_CHECKING

from enforcer.detect.recogniser import (
    Candidate,
    Recogniser,
    Words,
    digit_at,
    pattern,
    spans,
    word_after,
    word_before,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_EMAIL = pattern(
    rb"[\p{L}\p{N}._%+'&/=\-!#$^*{}~]+@(?:[\p{L}\p{N}](?:[\p{L}\p{N}\-]*[\p{L}\p{N}])?\.)+(?:xn--[a-z0-9\-]+|\p{L}{2,})"
)
# Endings that name files, not domains: icon@2x.png, build@v1.py.
_FILE_ENDINGS = frozenset(
    b"png jpg jpeg gif svg webp bmp ico pdf js mjs cjs jsx ts tsx css scss less map json yaml yml "
    b"toml xml html htm txt md csv log py pyc rb go java kt c h cpp hpp sh sql lock zip gz tar tgz".split()
)
_UNSPACED_THEN_ASCII = pattern(
    rb"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}]([!-~]+)$"
)
# A domain's ASCII ending, and the words of such a script right behind it: "a@b.com谢谢".
_UNSPACED_BEHIND = pattern(
    rb"^([A-Za-z]{2,})([\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}].*)$"
)
# A name and an equals sign before an address: email=a@b.com, author='a@b.com'.
_ASSIGNED = pattern(rb"(?:.*&)?[A-Za-z_]+=")
_COMMON_ENDINGS = frozenset(
    b"com net org edu gov io co de uk fr eu info us ca nl it es ch at be se no dk pl".split()
)
_NO_LOCAL_END = frozenset(b".'&/=!#$^*{}~")
_MENTION_EDGE = b".'&/=!#$^*{}~-"

_OCTETS = frozenset([b"%d" % octet for octet in range(256)])
_IPV4 = pattern(rb"(?:\d{1,3}\.){3}\d{1,3}")
_IPV6 = pattern(
    rb"(?:[0-9A-Fa-f]{0,4}:){2,6}(?:\d{1,3}\.){3}\d{1,3}"
    rb"|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}:?"
)
_VERSION, _IP = 0, 1
_IP_CONTEXT = (
    rb"\bip\b|\bipv[46]\b|address|host|server|ping|client|remote|subnet|gateway|peer|login|from"
)
_BEFORE_IP = Words(
    rb"version\s*$|\bver\.?\s*$|\brelease\s*$|\bv\s*$|\bbuild\s*$|\brev(?:ision)?\s*$|[=~^<>]=\s*$"
    rb"|\bsection\s*$|\xc2\xa7\s*$|\bchapter\s*$|\bclause\s*$|\boid\s*$|\bfirmware\s*$|\bupgrade(?:d)? to\s*$",
    _IP_CONTEXT,
)
_AFTER_IP = Words(_IP_CONTEXT)


def _find_emails(data: bytes) -> Iterator[Candidate]:
    for span in spans(_EMAIL, data):
        start, end = span
        at = data.index(b"@", start)
        start = _local_start(data, start, at)
        if start == at or data[at - 1] in _NO_LOCAL_END:
            continue
        labels = data[at + 1 : end].split(b".")
        followed = None if labels[-1].isascii() else _UNSPACED_BEHIND.search(labels[-1])
        if followed is not None:
            labels[-1] = followed.group(1)
            end -= len(followed.group(2))
        ending = labels[-1].lower()
        if ending in _FILE_ENDINGS:
            continue
        if ending not in _COMMON_ENDINGS and all(label.isdigit() for label in labels[:-1]):
            continue
        if word_after(data, end):
            yield Candidate(start, end, 0.7, "shape, joined to what follows")
        elif (
            ending not in _COMMON_ENDINGS
            and data[end : end + 1] == b"-"
            and word_after(data, end + 1)
        ):
            # The last label goes on behind a hyphen: sd_IN@devanagari.UTF-8 is a locale.
            yield Candidate(start, end, 0.35, "shape, joined to what follows")
        else:
            yield Candidate(start, end, 0.95, "shape")


def _local_start(data: bytes, start: int, at: int) -> int:
    """Where the local part starts: punctuation before it is the sentence's or the code's."""
    # What stands in front of the last "name=" belongs to a query string or to code.
    assigned = _ASSIGNED.match(data[start:at]) if data.find(b"=", start, at) >= 0 else None
    if assigned is not None:
        start += assigned.end()
    while start < at and data[start] in _MENTION_EDGE:
        start += 1
    return _after_unspaced(data, start, at)


def _after_unspaced(data: bytes, start: int, at: int) -> int:
    """Where the local part starts, if it follows a word of a script that puts no spaces."""
    local = data[start:at]
    if local.isascii():
        return start
    tail = _UNSPACED_THEN_ASCII.search(local)
    return start if tail is None else start + tail.start(1)


def _find_ips(data: bytes) -> Iterator[Candidate]:
    if b"." in data:
        yield from _find_ipv4(data)
    if b":" in data:
        yield from _find_ipv6(data)


def _find_ipv4(data: bytes) -> Iterator[Candidate]:
    for start, end in spans(_IPV4, data):
        if word_before(data, start) or word_after(data, end):
            continue
        if start > 0 and data[start - 1] in b".-" and (start == 1 or word_before(data, start - 1)):
            continue
        if end < len(data) and data[end] == 46 and digit_at(data, end + 1):
            continue
        octets = data[start:end].split(b".")
        if not _OCTETS.issuperset(octets):
            continue
        words = _BEFORE_IP.before(data, start)
        if _VERSION in words:
            yield Candidate(start, end, 0.2, "reads as a version")
        elif octets[0] == b"255" or octets == [b"0"] * 4:
            yield Candidate(start, end, 0.35, "a mask, or no address")
        elif _IP in words or _AFTER_IP.after(data, end):
            yield Candidate(start, end, 0.95, "range of every octet, context word")
        elif all(len(octet) == 1 for octet in octets) and octets[0] < b"4" and len(set(octets)) > 1:
            yield Candidate(start, end, 0.45, "range of every octet, short")
        else:
            yield Candidate(start, end, 0.8, "range of every octet")


def _find_ipv6(data: bytes) -> Iterator[Candidate]:
    for span in spans(_IPV6, data):
        start, end = span
        if word_before(data, start) or word_after(data, end):
            continue
        if data[end - 1] == 58 and data[end - 2 : end] != b"::":
            end -= 1
        value = data[start:end]
        if (start and data[start - 1] in b":.") or (end < len(data) and data[end] == 58):
            continue
        groups = [group for group in value.split(b":") if group]
        if len(groups) < 4 and b"." not in value and not (len(groups) > 1 and _routable(groups[0])):
            # Too short to be told from a name in code ("dead::beef"); the loopback is no person's.
            continue
        try:
            IPv6Address(value.decode("ascii"))
        except AddressValueError:
            continue
        yield Candidate(start, end, 0.9, "parses as IPv6")


def _routable(group: bytes) -> bool:
    """Whether a first group opens a global, unique local or link-local address."""
    first = int(group, 16)
    return len(group) == 4 and (
        0x2000 <= first <= 0x3FFF or 0xFC00 <= first <= 0xFDFF or first == 0xFE80
    )


EMAIL = Recogniser("email", (rb"[^\s@]@[^\s@]+\.[^\s@]{2}",), _find_emails, 90)
IP_ADDRESS = Recogniser(
    "ip_address",
    (
        rb"\d\.\d{1,3}\.\d{1,3}\.\d",
        rb"[0-9A-Fa-f]::[0-9A-Fa-f]",
        rb"[0-9A-Fa-f]::(?:[^0-9A-Za-z:]|$)",
        rb"(?:[0-9A-Fa-f]{1,4}:){6}",
        rb"::[0-9A-Fa-f]{1,4}:",
    ),
    _find_ips,
    70,
)
