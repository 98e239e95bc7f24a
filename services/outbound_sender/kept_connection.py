"""The connection that a slot keeps from one transaction to the next, as the pipeline knows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from services.outbound_sender.host_places import NO_HOSTS, HostFull
from shared.core.delivery import Outcome
from shared.core.domain_limit import DomainLimits


class Connection(Protocol):
    """A connection to a next hop."""

    @property
    def is_usable(self) -> bool: ...

    @property
    def hosts(self) -> AbstractSet[str]:
        """The peer's name and its addresses."""
        ...

    @property
    def max_recipients(self) -> int: ...

    @property
    def takes_8bit(self) -> bool: ...

    async def send(
        self,
        return_path: str,
        recipients: Sequence[str],
        content: Sequence[bytes],
        *,
        has_8bit: bool,
        has_utf8_header: bool,
        needs_smtputf8: bool,
        may_start_content: Callable[[], bool],
    ) -> Sequence[Outcome | None]: ...

    async def quit(self) -> None: ...

    def abort(self) -> None: ...


@dataclass(frozen=True, slots=True)
class LimitedHost:
    """The host to talk to is under a limit that the recipient was not released under: nobody was talked to."""

    pattern: str


class NextHop(Protocol):
    """Opens connections towards a recipient's domain."""

    async def open_connection(self, domain: str, domain_limit: str) -> Connection | Outcome | HostFull | LimitedHost:
        """A connection, which has a place at its host; why there is none for this recipient; or what to wait for.

        `LimitedHost` when the recipient was released under another limit than the host's.
        """
        ...


@dataclass(slots=True)
class Kept:
    """The connection that a slot keeps from one transaction to the next."""

    connection: Connection | None = None
    destination: str | None = None
    #: Recipients it was used for.
    messages: int = 0
    #: Those in force when it was opened.
    domain_limits: DomainLimits = field(default_factory=DomainLimits)

    def is_under(self, domain_limits: DomainLimits) -> bool:
        """Whether these were in force when the connection was opened: others may name its host."""
        if self.domain_limits is domain_limits:  # Nearly always, and for each recipient.
            return True
        if self.domain_limits != domain_limits:
            return False
        self.domain_limits = domain_limits
        return True

    @property
    def hosts(self) -> AbstractSet[str]:
        """The host that the connection goes to, by its name and its addresses."""
        return self.connection.hosts if self.connection is not None else NO_HOSTS
