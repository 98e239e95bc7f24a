"""The connection that a slot keeps from one transaction to the next, as the pipeline knows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.core.delivery import Outcome


class Connection(Protocol):
    """A connection to a next hop."""

    @property
    def is_usable(self) -> bool: ...

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
        needs_smtputf8: bool,
        may_start_content: Callable[[], bool],
    ) -> Sequence[Outcome | None]: ...

    async def quit(self) -> None: ...

    def abort(self) -> None: ...


class NextHop(Protocol):
    """Opens connections towards a recipient's domain."""

    async def open_connection(self, domain: str) -> Connection | Outcome: ...


@dataclass(slots=True)
class Kept:
    """The connection that a slot keeps from one transaction to the next."""

    connection: Connection | None = None
    destination: str | None = None
    #: Recipients it was used for.
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long a connection is kept."""

    #: A connection that nobody needs is closed after so long.
    idle_seconds: float = 5.0
    #: After so many recipients it is closed, and a new one opened.
    max_messages: int = 1000
