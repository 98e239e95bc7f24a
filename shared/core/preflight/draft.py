"""What the rules know of a newsletter."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.core.dmarc import PublishedPolicy
from shared.core.preflight.finding import Place


class Alignment(StrEnum):
    """Whether what SPF and DKIM prove is good for the sender that readers see (RFC 9989 §4.10)."""

    ALIGNED = "aligned"
    UNALIGNED = "unaligned"
    #: The DNS did not answer.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the form of a text."""

    place: Place
    #: One clause.
    because: str


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A merge field that no member has a value for."""

    place: Place
    name: str
    has_default: bool
    because: str


@dataclass(frozen=True, slots=True)
class Address:
    """An address in the HTML, of a link or of what it shows; it may hold merge fields."""

    place: Place
    address: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image of the HTML, and what it is called there."""

    place: Place
    address: str
    has_alt: bool


@dataclass(frozen=True, slots=True)
class Element:
    """An element that mail programs do not show, or an attribute that would be run: `script`, `onclick`."""

    place: Place
    name: str
    is_attribute: bool


@dataclass(frozen=True, slots=True)
class Texts:
    """What was written, and what was read in it."""

    subject: str
    preheader: str
    text: str
    html: str
    faults: tuple[Fault, ...] = ()
    unknown_fields: tuple[UnknownField, ...] = ()
    #: The fields whose merge fields include the one for leaving: `text`, `html`.
    with_unsubscribe_field: frozenset[str] = frozenset()
    #: All of the HTML, and those of links.
    addresses: tuple[Address, ...] = ()
    links: tuple[Address, ...] = ()
    images: tuple[Image, ...] = ()
    elements: tuple[Element, ...] = ()


@dataclass(frozen=True, slots=True)
class Sender:
    """Who it is from, and what the world is told about that."""

    from_domain: str
    #: Of the return paths and the signatures.
    return_domain: str
    alignment: Alignment
    #: What the owner of `from_domain` asks for about mail that is not aligned.
    policy: PublishedPolicy
    #: A key of `return_domain` is in force.
    has_signing_key: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """A newsletter before it is sent."""

    texts: Texts
    sender: Sender
    #: What its images are called (`cid:`).
    content_ids: frozenset[str]
    #: The HTML as it is sent, and the whole message.
    html_bytes: int
    message_bytes: int
    #: There are pages for links to lead to; then each copy can be one that its member leaves by.
    has_pages: bool
    #: Somebody would get it; `None` when that was not looked at.
    has_audience: bool | None
