"""Addresses in the prose and the fields of reports."""

from __future__ import annotations

import re

from shared.core.address import MAX_ADDRESS_OCTETS, Address, InvalidAddress

_DOMAIN = r"[A-Za-z0-9_\u0080-\U0010ffff](?:[A-Za-z0-9_.\u0080-\U0010ffff-]{0,252}[A-Za-z0-9_\u0080-\U0010ffff])?"
_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\u0080-\U0010ffff-]{1,128}"
#: An address in running text.
ADDRESS = re.compile(rf"(?:(?<![\w.+@%-])|(?<=mailto:)|(?<=smtp:)){_LOCAL}@{_DOMAIN}", re.IGNORECASE)
_WHOLE = re.compile(rf'(?:{_LOCAL}|"(?:[^"\\]|\\.){{1,128}}")@{_DOMAIN}')
_ANGLED = re.compile(r"<([^<>]{3,320})>")
_EDGES = " \t\r\n<>\"'`,;:.()[]{}*!?|«»„“”‘’。、，；：（）【】《》「」"
#: Characters of scripts that are written without blanks between words, next to ASCII.
_SCRIPT = r"[\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]"
_UP_TO_PROSE = re.compile(rf"^.*{_SCRIPT}(?=[!-~])")
_FROM_PROSE = re.compile(rf"(?<=[A-Za-z]){_SCRIPT}.*$")
_OPENING = "'`*={|/&-!?#“„‘«"


def address_in(text: str) -> str | None:
    """The one address that `text` is, perhaps in angle brackets or quotes, perhaps with a comment; else `None`."""
    text = re.sub(r"\s*\([^()]{0,200}\)\s*$", "", text.strip()[: 2 * MAX_ADDRESS_OCTETS])
    angled = _ANGLED.search(text)
    candidate = (angled.group(1) if angled else text).strip()
    candidate = re.sub(r"^(?:mailto|smtp|rfc822)\s*[:;=]\s*", "", candidate, flags=re.IGNORECASE)
    if not (candidate.startswith('"') and '"@' in candidate):
        candidate = candidate.strip(_EDGES)
    # A source route (RFC 5321 appendix C).
    if candidate.startswith("@") and ":" in candidate:
        candidate = candidate.rpartition(":")[2]
    return candidate if _WHOLE.fullmatch(candidate) and len(candidate) <= MAX_ADDRESS_OCTETS else None


def addresses_in(line: str) -> list[str]:
    """The addresses in a line of prose, in order."""
    found = []
    for match in ADDRESS.finditer(line):
        address = match.group().lstrip(_OPENING).strip(".")
        # No blank stands between an address and the words around it in Chinese and Japanese.
        if not address.isascii():
            address = _without_prose(address)
        if "@" in address and not address.startswith("@"):
            found.append(address)
    return found


def key_of(address: str) -> str:
    """Equal for two spellings of one address; the lower-case text of what is none."""
    try:
        return Address.parse(address).key
    except InvalidAddress:
        return address.lower()


def _without_prose(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{_UP_TO_PROSE.sub('', local)}@{_FROM_PROSE.sub('', domain) if '.' in domain else domain}"
