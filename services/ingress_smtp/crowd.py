"""The sessions that brought nothing yet: a full node gives their places to others, and it is fair by peer.

All of it takes the same few steps however many sessions there are, since a flood is when it counts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: Who got on within so long keeps its place: a client far away needs a round trip for each command. Sessions that said
#: nothing yet have no such time when their peer has several.
GRACE_SECONDS = 1.0
#: From the peer with most on, peers with so many fewer are looked at: as many as a peer may have by default.
MOST_LOOKS = 50


@dataclass(eq=False, slots=True)
class Place:
    """One session's place among the node's, and among its peer's when the client is known."""

    peer: str | None
    #: When the session last got on: it began, said who it is, named a sender or a recipient.
    got_on_at_seconds: float
    has_got_on: bool = False
    #: Ends the session, for another is to have its place.
    end: Callable[[], None] | None = None
    #: It is another's already; the session is about to end.
    is_given_away: bool = False


class Crowd:
    """Who brought nothing yet, by peer, and of each peer in the order in which they got on."""

    def __init__(self) -> None:
        self._of: dict[str, OrderedDict[Place, None]] = {}
        #: By how many they have here: the peers.
        self._peers_with: dict[int, OrderedDict[str, None]] = {}
        self._most = 0

    def enter(self, place: Place) -> None:
        """A session begins. A proxy that speaks for itself has no peer, and is let be."""
        if place.peer is not None:
            places = self._of.setdefault(place.peer, OrderedDict())
            places[place] = None
            self._moved(place.peer, len(places) - 1, len(places))

    def got_on(self, place: Place, now_seconds: float) -> None:
        """The session did a step towards bringing something."""
        place.got_on_at_seconds, place.has_got_on = now_seconds, True
        if (places := self._beside(place)) is not None:
            places.move_to_end(place)

    def leave(self, place: Place) -> None:
        """It ended, or brings something; harmless when it has left."""
        if place.peer is None or (places := self._beside(place)) is None:
            return
        del places[place]
        self._moved(place.peer, len(places) + 1, len(places))
        if not places:
            del self._of[place.peer]

    def stalest(self, peer: str | None, now_seconds: float) -> Place | None:
        """Whose place a newcomer of this peer is to have: of the peer with most here, who got on longest ago.

        Where that one has time left, a peer with fewer is looked at, so that nobody shields the others. `None` when it
        would not be fairer so: a peer that has some gets another only from one that has at least as many afterwards,
        else two could take a place from each other for ever.
        """
        own = 0 if peer is None else len(self._of.get(peer, ()))
        fewest = own + (own > 0)
        for count in range(self._most, max(fewest, self._most - MOST_LOOKS), -1):
            if count in self._peers_with:
                place = next(iter(self._of[next(iter(self._peers_with[count]))]))
                has_time = place.has_got_on or count == 1
                if not has_time or now_seconds - place.got_on_at_seconds >= GRACE_SECONDS:
                    return place
        return None

    def _beside(self, place: Place) -> OrderedDict[Place, None] | None:
        """All of its peer's here; `None` when it is not here."""
        places = None if place.peer is None else self._of.get(place.peer)
        return places if places is not None and place in places else None

    def _moved(self, peer: str, before: int, after: int) -> None:
        """Keep `_peers_with` and `_most`, which change by one at a time."""
        if before:
            peers = self._peers_with[before]
            del peers[peer]
            if not peers:
                del self._peers_with[before]
        if after:
            self._peers_with.setdefault(after, OrderedDict())[peer] = None
        if after > self._most or self._most not in self._peers_with:
            self._most = after
