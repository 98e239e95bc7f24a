"""One mailbox's address (RFC 5321 §4.1.2, RFC 6531 §3.3), its spelling, and the one form it is known by."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import idna

#: RFC 5321 §4.5.3.1.1 to §4.5.3.1.3: a domain of 255 octets in DNS has 253 characters, a path of 256 has < and >.
MAX_LOCAL_OCTETS = 64
MAX_DOMAIN_OCTETS = 253
MAX_ADDRESS_OCTETS = 254

# atext, and every character beyond ASCII: `_check_characters` has refused those that do not print.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_QUOTED_PAIR = re.compile(r"\\(.)")
_LDH_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


class InvalidAddress(ValueError):
    """The text is no address; the exception's words are one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address that may stand in an SMTP command as it is: no control character, no line end, no domain literal."""

    #: The local part as it was written, quotes included.
    local: str
    #: The domain as it was written.
    domain: str
    #: The domain in A-labels, lower-case.
    ascii_domain: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address that `text` is, without display name or angle brackets. Raises `InvalidAddress`."""
        _check_characters(text)
        local, at, domain = text.rpartition("@")
        if not at:
            raise InvalidAddress("The address has no @.")
        if not local:
            raise InvalidAddress("There is nothing before the @.")
        if not domain:
            raise InvalidAddress("There is nothing after the @.")
        _check_local(local)
        address = cls(local, domain, _to_ascii(domain))
        if len(address.wire.encode()) > MAX_ADDRESS_OCTETS:
            raise InvalidAddress(f"The address is longer than {MAX_ADDRESS_OCTETS} octets.")
        return address

    @property
    def spelling(self) -> str:
        """The address as it was written."""
        return f"{self.local}@{self.domain}"

    @property
    def wire(self) -> str:
        """The address as MAIL and RCPT take it: the domain in A-labels."""
        return f"{self.local}@{self.ascii_domain}"

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server with SMTPUTF8 (RFC 6531) can take it."""
        return not self.local.isascii()

    @property
    def key(self) -> str:
        """Equal for two spellings of one address: needless quotes, case and Unicode's composition are gone.

        Case is folded in the local part too: servers that tell `Ann` from `ann` are unknown in practice, and
        people who subscribe both are not.
        """
        return f"{_fold(self.local)}@{self.ascii_domain}"

    @property
    def counting_key(self) -> str:
        """Equal also for the variants of an address that may lead to one mailbox: `a.nn+news@` and `ann@`.

        To count what a mailbox gets, never to find a member: there are servers at which they are two people.
        """
        local, _, domain = self.key.rpartition("@")
        base = local.strip('"').partition("+")[0].replace(".", "")
        return f"{base or local}@{domain}"

    def __str__(self) -> str:
        return self.spelling


def _check_characters(text: str) -> None:
    if text.isascii() and text.isprintable():
        return
    for character in text:
        # Controls, line and paragraph separators, spaces beyond ASCII's, invisible formatting, half surrogates
        # (what is left of broken UTF-8), and what Unicode has not assigned.
        if unicodedata.category(character)[0] in "CZ" and character != " ":
            raise InvalidAddress(f"The address holds the character U+{ord(character):04X}, which is not allowed.")


def _check_local(local: str) -> None:
    if len(local.encode()) > MAX_LOCAL_OCTETS:
        raise InvalidAddress(f"The part before the @ is longer than {MAX_LOCAL_OCTETS} octets.")
    if not _DOT_ATOM.fullmatch(local) and not _QUOTED_STRING.fullmatch(local):
        raise InvalidAddress("The part before the @ is not well formed.")


# A list's members have few domains, and of a large list there are many.
@lru_cache(maxsize=4096)
def _to_ascii(domain: str) -> str:
    lowered = domain.lower()
    if domain.startswith("["):
        raise InvalidAddress("The part after the @ must be a domain's name, not a network address.")
    if not domain.isascii() or "--" in domain:
        lowered = _idna(domain)
    if len(lowered) > MAX_DOMAIN_OCTETS:
        raise InvalidAddress(f"The domain is longer than {MAX_DOMAIN_OCTETS} octets.")
    labels = lowered.split(".")
    if not all(len(label) <= 63 and _LDH_LABEL.fullmatch(label) for label in labels):
        raise InvalidAddress("The domain is not well formed.")
    if labels[-1].isdigit():
        raise InvalidAddress("The part after the @ must be a domain's name, not a network address.")
    return lowered


def _idna(domain: str) -> str:
    # A name that is far too long is not worth its normalisation.
    if len(domain) > MAX_DOMAIN_OCTETS:
        raise InvalidAddress(f"The domain is longer than {MAX_DOMAIN_OCTETS} octets.")
    try:
        return idna.encode(domain, uts46=True, std3_rules=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise InvalidAddress("The domain is not a valid internationalised name.") from error


def _fold(local: str) -> str:
    if local.startswith('"'):
        content = _QUOTED_PAIR.sub(r"\1", local[1:-1])
        local = content if _DOT_ATOM.fullmatch(content) else f'"{content}"'
    if local.isascii():
        return local.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", local).casefold())
