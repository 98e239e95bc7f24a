"""SPF records read (RFC 7208 §4.6, §5, §6, §12): terms and their arguments, and the macros in them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote


class SpfResult(StrEnum):
    """RFC 7208 §2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class InvalidRecord(ValueError):
    """The record breaks the syntax: permerror."""


_QUALIFIERS = {"+": SpfResult.PASS, "-": SpfResult.FAIL, "~": SpfResult.SOFTFAIL, "?": SpfResult.NEUTRAL}
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)")
_DIRECTIVE = re.compile(r"([+?~-]?)([A-Za-z0-9]+)(.*)")
_DUAL_CIDR = re.compile(r"(?:/(0|[1-9]\d?))?(?://(0|[1-9]\d{0,2}))?\Z")
_MACRO = re.compile(r"%(?:\{([slodiphcrtv])(\d{0,3})(r?)([.+,/_=-]*)\}|([%_-]))", re.IGNORECASE)
_WITH_DOMAIN = frozenset({"include", "exists"})
_MAYBE_DOMAIN = frozenset({"a", "mx", "ptr"})
#: What the sender's side may fill in.
_MAX_NAME_CHARACTERS = 253

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One directive."""

    result: SpfResult
    #: Lower-case: all, include, a, mx, ptr, ip4, ip6, exists.
    name: str
    #: With macros; empty for the domain itself.
    domain: str = ""
    ipv4_bits: int = 32
    ipv6_bits: int = 128
    network: Network | None = None


@dataclass(frozen=True, slots=True)
class SpfRecord:
    """One record."""

    mechanisms: tuple[Mechanism, ...]
    #: Where to look when no mechanism matches; empty for nowhere.
    redirect: str = ""


def records_among(texts: Sequence[str]) -> list[str]:
    """The SPF records among a name's TXT records (§4.5)."""
    return [text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]


def read_record(text: str) -> SpfRecord:
    """The record in `text`. Raises `InvalidRecord`."""
    if not text.isascii():
        raise InvalidRecord("a character beyond ASCII")
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, str] = {}
    for term in text.split(" ")[1:]:
        if not term:
            continue
        if modifier := _MODIFIER.fullmatch(term):
            name, value = modifier[1].lower(), modifier[2]
            _check_macros(value)
            if name in ("redirect", "exp") and (name in modifiers or not value):
                raise InvalidRecord(term)
            modifiers[name] = value
        else:
            mechanisms.append(_mechanism(term))
    return SpfRecord(tuple(mechanisms), modifiers.get("redirect", ""))


def _mechanism(term: str) -> Mechanism:
    found = _DIRECTIVE.fullmatch(term)
    if found is None:
        raise InvalidRecord(term)
    result, name, rest = _QUALIFIERS[found[1] or "+"], found[2].lower(), found[3]
    if name == "all" and not rest:
        return Mechanism(result, name)
    if name in ("ip4", "ip6") and rest.startswith(":"):
        return Mechanism(result, name, network=_network(name, rest[1:]))
    if name in _WITH_DOMAIN and len(rest) > 1 and rest.startswith(":"):
        _check_macros(rest[1:])
        return Mechanism(result, name, rest[1:])
    if name in _MAYBE_DOMAIN:
        return _with_cidr(result, name, rest, term)
    raise InvalidRecord(term)


def _with_cidr(result: SpfResult, name: str, rest: str, term: str) -> Mechanism:
    domain, cidr = rest, ""
    # A slash may stand in a macro, but then `}` comes after it.
    slash = rest.find("/", rest.rfind("}") + 1)
    if slash >= 0 and name != "ptr":
        domain, cidr = rest[:slash], rest[slash:]
    bits = _DUAL_CIDR.match(cidr)
    if bits is None or (domain and (not domain.startswith(":") or len(domain) == 1)):
        raise InvalidRecord(term)
    ipv4_bits, ipv6_bits = int(bits[1] or 32), int(bits[2] or 128)
    if ipv4_bits > 32 or ipv6_bits > 128:
        raise InvalidRecord(term)
    _check_macros(domain)
    return Mechanism(result, name, domain[1:], ipv4_bits, ipv6_bits)


def _network(name: str, text: str) -> Network:
    address, slash, bits = text.partition("/")
    if slash and not (bits.isdigit() and (bits == "0" or not bits.startswith("0"))):
        raise InvalidRecord(text)
    try:
        if name == "ip4":
            return ipaddress.IPv4Network(f"{ipaddress.IPv4Address(address)}/{bits or 32}", strict=False)
        return ipaddress.IPv6Network(f"{ipaddress.IPv6Address(address)}/{bits or 128}", strict=False)
    except ValueError as error:
        raise InvalidRecord(text) from error


def _check_macros(text: str) -> None:
    if "%" in _MACRO.sub("", text):
        raise InvalidRecord(text)


@dataclass(frozen=True, slots=True)
class Question:
    """Who sends, from where: what the macros stand for."""

    client: ipaddress.IPv4Address | ipaddress.IPv6Address
    #: Local part and domain of the sender.
    local: str
    sender_domain: str
    greeting: str


def expand(text: str, question: Question, domain: str) -> str:
    """`text` with its macros filled in for `domain`, cut to a name's length from the left (§7)."""
    values = _values(question, domain)

    def filled(found: re.Match[str]) -> str:
        letter, digits, is_reversed, delimiters, escaped = found.groups()
        if escaped:
            return {"%": "%", "_": " ", "-": "%20"}[escaped]
        parts = re.split("[" + re.escape(delimiters or ".") + "]", values[letter.lower()])
        if is_reversed:
            parts.reverse()
        if digits and int(digits):
            parts = parts[-int(digits) :]
        value = ".".join(parts)
        return quote(value, safe="") if letter.isupper() else value

    expanded = _MACRO.sub(filled, text).rstrip(".")
    while len(expanded) > _MAX_NAME_CHARACTERS and "." in expanded:
        expanded = expanded.partition(".")[2]
    return expanded


def _values(question: Question, domain: str) -> Mapping[str, str]:
    client = question.client
    is_ipv4 = client.version == 4
    dotted = str(client) if is_ipv4 else ".".join(f"{int(client):032x}")
    return {
        "s": f"{question.local}@{question.sender_domain}",
        "l": question.local,
        "o": question.sender_domain,
        "d": domain,
        "i": dotted,
        # The client's own name is for nobody to rely on (§7.2).
        "p": "unknown",
        "v": "in-addr" if is_ipv4 else "ip6",
        "h": question.greeting,
        "c": str(client),
        "r": "unknown",
        "t": "0",
    }
