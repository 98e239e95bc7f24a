"""Which of the node's own addresses a connection leaves from."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

from services.outbound_sender.dialing import is_ours


class SourceAddresses:
    """One address for a domain, as long as it works: servers that know us by our address (greylisting, reputation)
    know us again. Another domain has another one, so that all are used alike."""

    def __init__(self, addresses: Sequence[str] = (), *, is_usable: Callable[[str], bool] = is_ours) -> None:
        """Without any, the system chooses."""
        self._addresses = addresses
        self._is_usable = is_usable

    @property
    def turns(self) -> int:
        """How many different choices there are for one domain."""
        return max(1, len(self._addresses))

    def towards(self, address: str, domain: str, turn: int) -> str | None:
        """The source for a connection to `address`, with each `turn` the next one. Empty: the system's choice; `None`:
        there is none of that family on this machine now."""
        if not self._addresses:
            return ""
        family = [own for own in self._addresses if (":" in own) is (":" in address)]
        usable = [own for own in family if self._is_usable(own)]
        return usable[(zlib.crc32(domain.encode()) + turn) % len(usable)] if usable else None
