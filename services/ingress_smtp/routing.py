"""Where a recipient of RCPT leads: to a list, to the operator, back to a delivery, or nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shared.core.address import Address, InvalidAddress
from shared.core.list_address import Door, DoorAddress
from shared.core.mailing import TargetKind
from shared.core.smtp_reply import Reply
from shared.core.verp import delivery_of, mailing_of
from shared.store.arrivals import KnownList

RELAYING_DENIED = Reply(550, "5.7.1 Relaying denied: this server takes mail for its own lists only")
UNKNOWN_RECIPIENT = Reply(550, "5.1.1 There is no such address here")
MALFORMED_RECIPIENT = Reply(553, "5.1.3 The recipient's address is not well formed")

#: Addresses every domain must have (RFC 5321 §4.5.1, RFC 2142 §2).
_ROLES = frozenset({"postmaster", "abuse"})
#: What comes to these is no command.
_KINDS = {Door.OWNER: TargetKind.OPERATOR, Door.BOUNCES: TargetKind.RETURN_PATH}


@dataclass(frozen=True, slots=True)
class Route:
    """An accepted recipient."""

    #: Lower-case, the domain in A-labels: one recipient named twice is one route.
    address: str
    kind: TargetKind
    #: For posts.
    posted_to: KnownList | None = None
    #: For a list's other addresses, where the address names the list.
    list_id: int | None = None
    #: What is asked for here is asked in the author's name. (With a token it is in the name of whoever has that.)
    speaks_for_author: bool = False


class Directory(Protocol):
    """What the store knows of lists."""

    async def find_list(self, name: str, domain: str) -> KnownList | None:
        """The list with that posting address (lower-case)."""

    async def is_our_domain(self, domain: str) -> bool:
        """Whether any list lives in the domain."""


async def route(recipient: str, directory: Directory, *, hostname: str, secret: bytes) -> Route | Reply:
    """Where mail for `recipient`, the text between RCPT's angle brackets, goes; or the reply that refuses it.

    Our domains are those of the lists, and `hostname`, this server's own.
    """
    if recipient.lower() == "postmaster":
        recipient = f"postmaster@{hostname}"
    if _asks_for_relay(recipient):
        return RELAYING_DENIED
    try:
        address = Address.parse(recipient)
    except InvalidAddress:
        return MALFORMED_RECIPIENT
    name, _, domain = address.key.rpartition("@")
    known = await directory.find_list(name, domain)
    if known is not None:
        return Route(address.key, TargetKind.LIST, known)
    if domain != hostname.lower() and not await directory.is_our_domain(domain):
        return RELAYING_DENIED
    if name in _ROLES:
        return Route(address.key, TargetKind.OPERATOR)
    if delivery_of(name, secret) is not None or mailing_of(name, secret) is not None:
        return Route(address.key, TargetKind.RETURN_PATH)
    return await _through_a_door(address.key, directory) or UNKNOWN_RECIPIENT


def _asks_for_relay(recipient: str) -> bool:
    """Source routes, `user%other@here`, `other!user@here`, `"user@other"@here` and address literals (RFC 5321 §F.2)."""
    local, _, domain = recipient.rpartition("@")
    return recipient.startswith("@") or domain.startswith("[") or any(mark in local for mark in "%!@")


async def _through_a_door(address: str, directory: Directory) -> Route | None:
    """Where mail to one of a list's other addresses goes; `None` when it is none, or there is no such list.

    Whether a token is good is not looked at here: the answer would tell.
    """
    local, _, domain = address.rpartition("@")
    door = DoorAddress.parse(local)
    if door is None:
        return None
    if not door.list_name:
        return Route(address, TargetKind.COMMAND)
    known = await directory.find_list(door.list_name, domain)
    if known is None:
        return None
    kind = _KINDS.get(door.door, TargetKind.COMMAND)
    return Route(address, kind, list_id=known.id, speaks_for_author=kind is TargetKind.COMMAND and not door.token)
