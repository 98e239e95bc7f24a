"""Who may come in, and when a message may begin: the node's limits in force."""

from __future__ import annotations

import asyncio
from collections import Counter

from services.ingress_smtp import metrics
from services.ingress_smtp.crowd import Crowd, Place
from shared.core.ingress_limits import BusyBecause, IngressLimits
from shared.core.limits import Limit
from shared.core.pacer import Go, Pacer, pace_per_second
from shared.core.peer import peer_of
from shared.core.smtp_reply import Reply

#: Who connects while a message could not begin within so long is sent to the next server.
SOON_SECONDS = 2.0
#: So long a message waits for its turn; its client is told to come back later when it would be longer.
PATIENCE_SECONDS = 5.0
#: From this part of the sessions that there may be, who does nothing is sent away sooner.
CROWDED_PART = 0.8
#: So many sessions may be about to end whose places others have already: their files are open until then.
MOST_LEAVING = 100

_WHY = {
    BusyBecause.DRAINING: "The server takes no mail now",
    BusyBecause.ACCEPTING_ENABLED: "The server takes no mail now",
    BusyBecause.MAX_CONNECTIONS: "Too many sessions",
    BusyBecause.OPEN_FILES: "Too many sessions",
    BusyBecause.MAX_MESSAGES_PER_SECOND: "Too many messages",
}
_FULL = (BusyBecause.MAX_CONNECTIONS, BusyBecause.OPEN_FILES)
_TOO_MANY_OF_PEER = Reply(421, "4.3.2 Too many sessions from your network, please try again later")


class Admission:
    """Gives out places, and turns."""

    def __init__(self, most_sessions: int) -> None:
        """`most_sessions`: what the files that the process may open leave room for."""
        self.most_sessions = most_sessions
        self.limits = IngressLimits()
        self.is_draining = False
        #: Messages that were answered 250.
        self.accepted_count = 0
        self._places = 0
        self._places_of: Counter[str] = Counter()
        self._crowd = Crowd()
        self._leaving = 0
        self._pacer = Pacer(Limit.MAX_MESSAGES_PER_SECOND)
        self._queue = asyncio.Lock()
        self._waiting = 0
        self._changed = asyncio.Event()

    def apply(self, limits: IngressLimits, *, is_draining: bool) -> None:
        """In force at once, also for those who wait. A rate that stays goes on where it stands."""
        before, self.limits, self.is_draining = self.limits, limits, is_draining
        if limits.max_messages_per_second != before.max_messages_per_second:
            pace_per_second(self._pacer, limits.max_messages_per_second, asyncio.get_running_loop().time())
        self._changed.set()

    @property
    def is_open(self) -> bool:
        """Whether the node takes mail at all."""
        return self.limits.accepting_enabled and not self.is_draining

    @property
    def is_crowded(self) -> bool:
        """Whether sessions are soon too many."""
        most = min(self.limits.max_connections or self.most_sessions, self.most_sessions)
        return self._places >= CROWDED_PART * most

    def busy_because(self) -> BusyBecause | None:
        """Why nobody may come in at this moment; `None` when somebody may."""
        if self.is_draining:
            return BusyBecause.DRAINING
        if not self.limits.accepting_enabled:
            return BusyBecause.ACCEPTING_ENABLED
        if self.limits.max_connections is not None and self._places >= self.limits.max_connections:
            return BusyBecause.MAX_CONNECTIONS
        if self._places >= self.most_sessions:
            return BusyBecause.OPEN_FILES
        if self._wait_seconds() > SOON_SECONDS:
            return BusyBecause.MAX_MESSAGES_PER_SECOND
        return None

    def admit(self, address: str | None) -> Place | Reply:
        """A place for a client at this network address (`None`: a proxy's own), or what it is told.

        Where all places are taken, it may be that of a session that brought nothing and does not get on.
        """
        peer = None if address is None else peer_of(address)
        most = self.limits.max_connections_per_peer
        has_too_many = peer is not None and most is not None and self._places_of[peer] >= most
        because = self.busy_because()
        if because in _FULL and not has_too_many and self._make_room(peer):
            because = self.busy_because()
        if because is not None:
            metrics.REFUSED.labels(because.value).inc()
            return Reply(421, f"4.3.2 {_WHY[because]}, please try again later")
        if has_too_many:
            metrics.REFUSED.labels("max_connections_per_peer").inc()
            return _TOO_MANY_OF_PEER
        place = Place(peer, asyncio.get_running_loop().time())
        self._places += 1
        if peer is not None:
            self._places_of[peer] += 1
        self._crowd.enter(place)
        return place

    def got_on(self, place: Place) -> None:
        """The session said who it is, or named a sender or a recipient that is good."""
        self._crowd.got_on(place, asyncio.get_running_loop().time())

    def keep(self, place: Place) -> None:
        """The session brings a message: nobody else gets its place."""
        self._crowd.leave(place)

    def leave(self, place: Place) -> None:
        """The session has ended: give the place back, unless another has it already."""
        place.end = None
        if place.is_given_away:
            self._leaving -= 1
        else:
            self._give_back(place)

    def _make_room(self, peer: str | None) -> bool:
        """End the session that is to make room for a newcomer of this peer, if there is one."""
        stalest = self._crowd.stalest(peer, asyncio.get_running_loop().time())
        if stalest is None or stalest.end is None or self._leaving >= MOST_LEAVING:
            return False
        metrics.DISPLACED.inc()
        self._give_back(stalest)
        stalest.is_given_away = True
        self._leaving += 1
        stalest.end()
        return True

    def _give_back(self, place: Place) -> None:
        self._crowd.leave(place)
        self._places -= 1
        if place.peer is not None:
            self._places_of[place.peer] -= 1
            if not self._places_of[place.peer]:
                del self._places_of[place.peer]

    async def turn(self) -> bool:
        """True when a message begins now, by the rate; false when it cannot soon."""
        now_seconds = asyncio.get_running_loop().time
        if self._wait_seconds() > PATIENCE_SECONDS:
            return False
        gives_up_at_seconds = now_seconds() + PATIENCE_SECONDS
        self._waiting += 1
        try:
            async with self._queue:
                while True:
                    answer = self._pacer.answer(now_seconds())
                    if isinstance(answer, Go):
                        self._pacer.take(now_seconds())
                        return True
                    if now_seconds() + answer.seconds > gives_up_at_seconds:
                        return False
                    self._changed.clear()
                    try:
                        async with asyncio.timeout(answer.seconds):
                            await self._changed.wait()
                    except TimeoutError:
                        pass  # The turn has come.
        finally:
            self._waiting -= 1

    def _wait_seconds(self) -> float:
        """How long a message that came now would wait."""
        per_second = self.limits.max_messages_per_second
        if per_second is None:
            return 0.0
        return self._pacer.wait_seconds(asyncio.get_running_loop().time()) + self._waiting / per_second
