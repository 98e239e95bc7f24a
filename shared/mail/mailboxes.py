"""The addresses in a From field (RFC 5322 §3.4), found by one pass over its characters.

The pass knows comments, quoted strings, angle brackets and groups, and has no recursion: nesting costs a counter.
An address is only what stands as an address. What a display name, a comment or an encoded word says is never one,
and where a reader could take something else for the author than we do, the mailbox is unreadable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.core.address import Address, InvalidAddress
from shared.mail.words import clean, decode_words

#: No message has more authors; the rest of a longer list is not worth reading.
MAX_MAILBOXES = 50

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Mailboxes:
    """Who a field names: the readable addresses in order, and how many mailboxes could not be read."""

    addresses: tuple[Address, ...]
    unreadable: int
    #: What each address is called, for a reader; empty where it has no display name.
    names: tuple[str, ...] = ()


def mailboxes(value: str) -> Mailboxes:
    """The mailboxes of an unfolded field value; a value that is broken is one unreadable mailbox more."""
    addresses: list[Address] = []
    names: list[str] = []
    unreadable = 0
    elements, is_broken = _elements(value)
    if len(elements) > MAX_MAILBOXES:
        return Mailboxes((), len(elements))
    for element in elements:
        try:
            addresses.append(_address(element))
            names.append(_name(element))
        except InvalidAddress:
            unreadable += 1
    return Mailboxes(tuple(addresses), unreadable + is_broken, tuple(names))


@dataclass(slots=True)
class _Element:
    """One member of the list while it is read: what stands outside and inside of angle brackets, without comments."""

    outside: str = ""
    inside: str | None = None
    is_bad: bool = False

    def is_empty(self) -> bool:
        return not self.outside.strip() and self.inside is None and not self.is_bad


def _address(element: _Element) -> Address:
    text = (element.outside if element.inside is None else element.inside).strip()
    # An encoded word is no address (RFC 2047 §5 (3)), though its characters would make a local part.
    if element.is_bad or "=?" in text:
        raise InvalidAddress("The mailbox cannot be read.")
    return Address.parse(text)


def _name(element: _Element) -> str:
    if element.inside is None:
        return ""
    # What is quoted is taken as it is, except that many programs put encoded words into quotes.
    phrase = _QUOTED.sub(lambda found: re.sub(r"\\(.)", r"\1", found.group(1)), element.outside)
    return clean(" ".join(decode_words(phrase).split()))


def _elements(value: str) -> tuple[list[_Element], bool]:
    """The non-empty members of an address list, group names removed; and whether something was left unclosed."""
    elements = [_Element()]
    kept: list[str] = []
    comment_depth, is_quoted, is_angled, is_escaped = 0, False, False, False
    for character in value:
        current = elements[-1]
        if is_escaped:
            is_escaped = False
            if not comment_depth:
                kept.append(character)
        elif character == "\\" and (is_quoted or comment_depth):
            is_escaped = True
            if is_quoted:
                kept.append(character)
        elif is_quoted:
            is_quoted = character != '"'
            kept.append(character)
        elif character == "(":
            comment_depth += 1
        elif comment_depth:
            comment_depth -= character == ")"
        elif character == '"':
            is_quoted = True
            kept.append(character)
        elif character == "<":
            current.is_bad |= is_angled or current.inside is not None
            current.outside, is_angled = "".join(kept), True
            kept = []
        elif character == ">":
            current.is_bad |= not is_angled
            current.inside, is_angled = "".join(kept), False
            kept = []
        elif character in ",;" and not is_angled:
            _close(current, kept)
            elements.append(_Element())
            kept = []
        elif character == ":" and not is_angled:
            # A group's name; what follows are its members.
            kept = []
        else:
            kept.append(character)
    _close(elements[-1], kept)
    return [element for element in elements if not element.is_empty()], is_quoted or is_angled or comment_depth > 0


def _close(element: _Element, kept: list[str]) -> None:
    rest = "".join(kept)
    if element.inside is None:
        element.outside = rest
    elif rest.strip():
        element.is_bad = True
