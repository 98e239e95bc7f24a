"""Links lead somewhere, and by https."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from shared.core.links import UNSUBSCRIBE_FIELD
from shared.core.preflight.draft import Draft
from shared.core.preflight.finding import Finding, warned

_BRACES = re.compile(r"\{\{[^{}]*\}\}")
_OURS = re.compile(rf"\{{\{{\s*{UNSUBSCRIBE_FIELD}\s*\}}\}}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_OTHER_SCHEMES = frozenset({"mailto", "tel", "sms", "geo", "webcal", "cid"})
_NOT_IN_A_LINK = re.compile(r"[\x00-\x20\x7f-\xa0<>\"\\^`{|}]")
_HOST = re.compile(r"(?:[\w-]+\.)+[\w-]+\.?|\[[0-9a-f:.]+\]")
#: Of one kind, so many are told.
_MOST = 50


def links(draft: Draft) -> list[Finding]:
    faults = [(link, _fault(link.address.strip())) for link in draft.texts.links]
    broken = [warned("broken_link", link.place, f"Mend the link: {fault}.") for link, fault in faults if fault]
    plain = [
        warned("http_link", each.place, f"Use https: {_excerpt(each.address)} can be read and changed on its way.")
        for each in draft.texts.addresses
        if each.address.strip().lower().startswith("http://")
    ]
    return [*broken[:_MOST], *plain[:_MOST]]


def _fault(address: str) -> str | None:
    """What is wrong, in one clause; `None` when nothing is."""
    if address in ("", "#"):
        return "it leads nowhere"
    if address.startswith("#") or _OURS.fullmatch(address):
        return None
    if _BRACES.match(address):
        return f"all of {_excerpt(address)} is a member's value, which may be anything"
    plain = _BRACES.sub("x", address)
    scheme = _SCHEME.match(plain)
    if scheme is None:
        return f"{_excerpt(address)} has no scheme, like https://"
    if scheme.group(1).lower() not in ("http", "https"):
        is_known = scheme.group(1).lower() in _OTHER_SCHEMES and len(plain) > scheme.end()
        return None if is_known else f"mail programs do not follow {_excerpt(address)}"
    if found := _NOT_IN_A_LINK.search(plain):
        return f"{_excerpt(address)} holds {_shown(found.group())}, to be written %{ord(found.group()):02X}"
    try:
        parts = urlsplit(plain)
        is_host = plain[scheme.end() :].startswith("//") and _HOST.fullmatch(_host_of(parts.netloc, parts.port))
    except ValueError:
        is_host = None
    return None if is_host else f"{_excerpt(address)} names no host"


def _host_of(netloc: str, port: int | None) -> str:
    host = netloc.rpartition("@")[2].lower()
    return host.rpartition(":")[0] if port is not None else host


def _excerpt(address: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in address.strip()[:80])
    return printable if len(address.strip()) <= 80 else f"{printable}…"


def _shown(character: str) -> str:
    return character if character.isprintable() and not character.isspace() else f"U+{ord(character):04X}"
