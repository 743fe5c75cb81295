"""The network extension: addresses and blocks of addresses."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from enforcer.cel.errors import EvaluationError
from enforcer.cel.registry import declare
from enforcer.cel.values import Cidr, Ip

_PREFIX = re.compile(r"[0-9]{1,3}")
_TEXT_MAX: Final = 64


def _parse_address(text: str) -> IPv4Address | IPv6Address:
    if "%" in text:
        raise EvaluationError("invalid_argument", "an address with a zone is not allowed")
    if ":" in text and "." in text:
        raise EvaluationError("invalid_argument", "an IPv4 address within IPv6 is not allowed")
    try:
        return ip_address(text[:_TEXT_MAX])
    except ValueError:
        raise EvaluationError("invalid_argument", "the string is no network address") from None


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@declare("ip(string) -> net.IP")
def _ip(text: str) -> Ip:
    return Ip(_unmapped(_parse_address(text)))


@declare("isIP(string) -> bool", certain=True)
def _is_ip(text: str) -> bool:
    try:
        _parse_address(text)
    except EvaluationError:
        return False
    return True


@declare("isCIDR(string) -> bool", certain=True)
def _is_cidr(text: str) -> bool:
    try:
        _cidr(text)
    except EvaluationError:
        return False
    return True


@declare("ip.isCanonical(string) -> bool")
def _is_canonical(text: str) -> bool:
    return str(_parse_address(text)) == text


@declare("string(net.IP) -> string", certain=True)
def _show_ip(ip: Ip) -> str:
    return str(ip.address)


@declare("net.IP:family() -> int", certain=True)
def _family(ip: Ip) -> int:
    return ip.address.version


@declare("net.IP:isUnspecified() -> bool", certain=True)
def _is_unspecified(ip: Ip) -> bool:
    return ip.address.is_unspecified


@declare("net.IP:isLoopback() -> bool", certain=True)
def _is_loopback(ip: Ip) -> bool:
    return ip.address.is_loopback


@declare("net.IP:isGlobalUnicast() -> bool", certain=True)
def _is_global_unicast(ip: Ip) -> bool:
    # The definition of Go's net package, on which the extension leans: private addresses count.
    address = ip.address
    broadcast = address.version == 4 and int(address) == 0xFFFFFFFF
    special = address.is_unspecified or address.is_loopback or address.is_multicast
    return not (broadcast or special or address.is_link_local)


@declare("net.IP:isLinkLocalMulticast() -> bool", certain=True)
def _is_link_local_multicast(ip: Ip) -> bool:
    packed = ip.address.packed
    if ip.address.version == 4:
        return packed[:3] == b"\xe0\x00\x00"
    return packed[0] == 0xFF and packed[1] & 0x0F == 0x02


@declare("net.IP:isLinkLocalUnicast() -> bool", certain=True)
def _is_link_local_unicast(ip: Ip) -> bool:
    return ip.address.is_link_local


@declare("cidr(string) -> net.CIDR")
def _cidr(text: str) -> Cidr:
    address_text, slash, prefix_text = text.partition("/")
    if not slash or not _PREFIX.fullmatch(prefix_text):
        raise EvaluationError("invalid_argument", "the string is no block of addresses")
    address = _parse_address(address_text)
    if int(prefix_text) > address.max_prefixlen:
        raise EvaluationError("invalid_argument", "the string is no block of addresses")
    return Cidr(address, int(prefix_text))


@declare("string(net.CIDR) -> string", certain=True)
def _show_cidr(block: Cidr) -> str:
    return f"{block.address}/{block.prefix}"


@declare("net.CIDR:ip() -> net.IP", certain=True)
def _ip_of(block: Cidr) -> Ip:
    return Ip(block.address)


@declare("net.CIDR:prefixLength() -> int", certain=True)
def _prefix_length(block: Cidr) -> int:
    return block.prefix


@declare("net.CIDR:masked() -> net.CIDR", certain=True)
def _masked(block: Cidr) -> Cidr:
    network = ip_network((block.address, block.prefix), strict=False)
    return Cidr(network.network_address, block.prefix)


def _covers(block: Cidr, address: IPv4Address | IPv6Address) -> bool:
    if address.version != block.address.version:
        return False
    free_bits = block.address.max_prefixlen - block.prefix
    return int(address) >> free_bits == int(block.address) >> free_bits


@declare("net.CIDR:containsIP(net.IP) -> bool", certain=True)
def _contains_ip(block: Cidr, ip: Ip) -> bool:
    return _covers(block, ip.address)


@declare("net.CIDR:containsIP(string) -> bool")
def _contains_ip_text(block: Cidr, text: str) -> bool:
    return _covers(block, _ip(text).address)


@declare("net.CIDR:containsCIDR(net.CIDR) -> bool", certain=True)
def _contains_cidr(block: Cidr, other: Cidr) -> bool:
    return block.prefix <= other.prefix and _covers(block, other.address)


@declare("net.CIDR:containsCIDR(string) -> bool")
def _contains_cidr_text(block: Cidr, text: str) -> bool:
    return _contains_cidr(block, _cidr(text))
