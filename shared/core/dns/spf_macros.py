"""Macros in the names of an SPF record (RFC 7208 §7), for a return path of the domain itself."""

from __future__ import annotations

import ipaddress
import re

#: A sender whose local part no policy knows: what is letter by letter the sender's own matches nobody.
_LOCAL_PART = "postmaster"
_MACRO = re.compile(r"%\{([slodiphv])(\d*)(r?)([.\-+,/_=]*)\}|%([%_-])", re.IGNORECASE)
_LITERALS = {"%": "%", "_": " ", "-": "%20"}


def expanded(text: str, domain: str, address: str) -> str:
    """`text` with its macros filled in; at most the 253 characters of a name, from its end (§7.3)."""

    def fill(macro: re.Match[str]) -> str:
        if macro[5]:
            return _LITERALS[macro[5]]
        parts = re.split(f"[{re.escape(macro[4] or '.')}]", _value(macro[1].lower(), domain, address))
        parts = parts[::-1] if macro[3] else parts
        return ".".join(parts[-int(macro[2]) :] if macro[2] and int(macro[2]) else parts)

    name = _MACRO.sub(fill, text)
    while len(name) > 253 and "." in name:
        name = name.partition(".")[2]
    return name.lower()


def _value(letter: str, domain: str, address: str) -> str:
    ip = ipaddress.ip_address(address)
    if letter == "i":
        return str(ip) if ip.version == 4 else ".".join(ip.exploded.replace(":", ""))
    values = {
        "s": f"{_LOCAL_PART}@{domain}",
        "l": _LOCAL_PART,
        "v": "in-addr" if ip.version == 4 else "ip6",
        "p": "unknown",
    }
    return values.get(letter, domain)
