"""A list's addresses: which names a list can have, and what its other addresses are for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from shared.core.address import MAX_LOCAL_OCTETS, Address, InvalidAddress
from shared.core.verp import MAILING_PREFIX, PREFIX

#: So that the longest of the list's other addresses still has a local part of 64 octets (RFC 5321 §4.5.3.1.1).
MAX_NAME_CHARACTERS = 50

_NAME = re.compile(r"[a-z0-9]+(?:[._+-][a-z0-9]+)*")
#: Addresses that every domain has (RFC 5321 §4.5.1, RFC 2142), and the sender of automatic mail.
_ROLES = frozenset({"postmaster", "abuse", "mailer-daemon"})


class Door(StrEnum):
    """What one of a list's other addresses is for; the value ends its local part (RFC 2142 §6, RFC 2369)."""

    JOIN = "join"
    LEAVE = "leave"
    #: With a token behind a `+`; so may `LEAVE` have.
    CONFIRM = "confirm"
    REQUEST = "request"
    OWNER = "owner"
    BOUNCES = "bounces"


_DOORS = {door.value: door for door in Door} | {"subscribe": Door.JOIN, "unsubscribe": Door.LEAVE}
_ENDINGS = (*(f"-{ending}" for ending in _DOORS), "-help")
#: A list's name may not look like one of the addresses that a token goes with.
_WITH_TOKEN = re.compile(r"(?:^|-)(?:confirm|leave)\+")
_TOKEN_DOOR = re.compile(r"(?:(?P<list>.+)-)?(?P<door>confirm|leave)\+(?P<token>[0-9a-z]+)")


def list_address(name: str, domain: str) -> tuple[str, str]:
    """Name and domain in lower case, the domain in A-labels. Raises `InvalidAddress`."""
    lowered = name.lower()
    if len(name) > MAX_NAME_CHARACTERS:
        raise InvalidAddress(f"The name of a list has at most {MAX_NAME_CHARACTERS} characters.")
    if not _NAME.fullmatch(lowered):
        raise InvalidAddress(
            "The name of a list is made of ASCII letters and digits, with single . _ + - between them."
        )
    if (
        lowered in _ROLES
        or lowered.startswith((PREFIX, MAILING_PREFIX))
        or lowered.endswith(_ENDINGS)
        or _WITH_TOKEN.search(lowered)
    ):
        raise InvalidAddress(f"Mail to {lowered}@ is for something else: a list cannot be called so.")
    return lowered, Address.parse(f"{lowered}@{domain}").ascii_domain


@dataclass(frozen=True, slots=True)
class DoorAddress:
    """The local part of one of a list's other addresses."""

    door: Door
    #: Empty where the token says which list is meant.
    list_name: str
    #: Empty where there is none.
    token: str = ""

    @classmethod
    def parse(cls, local: str) -> DoorAddress | None:
        """What `local` (lower-case) is for, if a list of that name exists; `None` for anything else."""
        if with_token := _TOKEN_DOOR.fullmatch(local):
            return cls(Door(with_token["door"]), with_token["list"] or "", with_token["token"])
        list_name, _, ending = local.rpartition("-")
        door = _DOORS.get(ending)
        return None if door in (None, Door.CONFIRM) or not list_name else cls(door, list_name)

    @property
    def local(self) -> str:
        """The local part; without the list's name where that makes it longer than an address may be."""
        if not self.token:
            return f"{self.list_name}-{self.door}"
        full = f"{self.list_name}-{self.door}+{self.token}"
        return full if self.list_name and len(full) <= MAX_LOCAL_OCTETS else f"{self.door}+{self.token}"
