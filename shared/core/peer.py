"""Who counts as one peer, where connections or requests are limited by where they come from."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address


def peer_of(address: str) -> str:
    """The peer at a network address: an IPv4 address is one, and so is a /64 of IPv6, since that is what one host or
    one customer has. IPv4 within IPv6 counts as IPv4. What is no address is a peer by its own name."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((int(found) >> 64 << 64, 64)))
