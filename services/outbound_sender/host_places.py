"""Connections of this node by destination host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from shared.core.delivery import Outcome, OutcomeKind

NO_HOSTS: AbstractSet[str] = frozenset()


@dataclass(frozen=True, slots=True)
class HostFull:
    """No connection now: as many are open to this host as may be."""

    host: str

    @property
    def as_outcome(self) -> Outcome:
        """For a recipient who was started and cannot wait in the backlog."""
        return Outcome(OutcomeKind.DEFERRED, "as many connections as this node may have are open", None, self.host)


class HostPlaces:
    """Counts connections to each host, by its name and by its address: neither has more than may be.

    So many names for one address are one host, and so are the addresses of one name.
    """

    def __init__(self) -> None:
        #: Told whenever one of these hosts may have one connection more; `None`: any host, and any number.
        self.on_room: Callable[[AbstractSet[str] | None], None] = lambda _hosts: None
        self._at_most: int | None = None
        self._open: Counter[str] = Counter()

    def limit(self, at_most: int | None) -> None:
        """At most so many to each host from now on; `None` is unlimited."""
        if at_most != self._at_most:
            self._at_most = at_most
            self.on_room(None)

    def take(self, hosts: AbstractSet[str]) -> HostFull | None:
        """Count a connection to a host of these names and addresses, or say which of them has no room."""
        if self._at_most is not None:
            for host in hosts:
                if self._open[host] >= self._at_most:
                    return HostFull(host)
        self._open.update(hosts)
        return None

    def give_back(self, hosts: AbstractSet[str]) -> None:
        """A counted connection is closed."""
        for host in hosts:
            self._open[host] -= 1
            if not self._open[host]:
                del self._open[host]
        self.on_room(hosts)

    def has_too_many(self, hosts: AbstractSet[str]) -> bool:
        """Whether one of these connections must go: the limit was lowered."""
        return self._at_most is not None and any(self._open[host] > self._at_most for host in hosts)
