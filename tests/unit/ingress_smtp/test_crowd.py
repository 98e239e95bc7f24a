"""Whose place a newcomer gets where all are taken."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.ingress_smtp.crowd import GRACE_SECONDS, Crowd, Place

LATER = 10.0


def entered(crowd: Crowd, peer: str | None, at_seconds: float = 0.0) -> Place:
    place = Place(peer, at_seconds)
    crowd.enter(place)
    return place


def test_the_peer_with_most_loses_the_place_of_who_got_on_longest_ago() -> None:
    crowd = Crowd()
    entered(crowd, "lone")
    first, second = entered(crowd, "many"), entered(crowd, "many")
    assert crowd.stalest("new", LATER) is first
    crowd.got_on(first, 1.0)
    assert crowd.stalest("new", LATER) is second
    crowd.leave(second)
    crowd.leave(first)
    crowd.leave(first)  # as of a session that was given away and ends then
    assert crowd.stalest("new", LATER) is not None, "the lone one, who has one more than the newcomer"


def test_a_newcomer_of_a_peer_that_has_as_many_gets_nobodys_place() -> None:
    crowd = Crowd()
    for peer in ("ann", "ann", "bob", "bob", "cleo"):
        entered(crowd, peer)
    assert crowd.stalest("ann", LATER) is None
    assert crowd.stalest("cleo", LATER) is None, "it would have two then, and another one"
    assert crowd.stalest("dan", LATER) is not None
    entered(crowd, "bob")
    assert crowd.stalest("cleo", LATER) is not None


def test_who_got_on_a_moment_ago_keeps_its_place() -> None:
    crowd = Crowd()
    place = entered(crowd, "ann", 5.0)
    assert crowd.stalest("bob", 5.0 + GRACE_SECONDS - 0.01) is None
    assert crowd.stalest("bob", 5.0 + GRACE_SECONDS) is place
    other = entered(crowd, "ann", 5.0)
    assert crowd.stalest("bob", 5.0) is place, "it has two, and this one said nothing yet"
    for each in (place, other):
        crowd.got_on(each, 5.0)
    assert crowd.stalest("bob", 5.0 + GRACE_SECONDS - 0.01) is None
    assert crowd.stalest("bob", 5.0 + GRACE_SECONDS) is place


def test_who_gets_on_all_the_time_shields_nobody_else() -> None:
    crowd = Crowd()
    busy = [entered(crowd, "busy") for _ in range(5)]
    idle = [entered(crowd, "idle") for _ in range(3)]
    for place in busy:
        crowd.got_on(place, LATER)
    assert crowd.stalest("new", LATER) is idle[0]


def test_a_proxys_own_session_is_let_be() -> None:
    crowd = Crowd()
    place = entered(crowd, None)
    assert crowd.stalest("ann", LATER) is None
    crowd.got_on(place, 1.0)
    crowd.leave(place)


@given(st.lists(st.tuples(st.sampled_from(["enter", "leave", "got on", "ask"]), st.integers(0, 4)), max_size=200))
def test_whatever_happens_it_is_the_fullest_peers(steps: list[tuple[str, int]]) -> None:
    crowd = Crowd()
    places: list[Place] = []
    for at_seconds, (step, number) in enumerate(steps):
        peer = f"peer {number}"
        if step == "enter":
            places.append(entered(crowd, peer, at_seconds))
        elif step == "leave" and places:
            crowd.leave(places.pop(number % len(places)))
        elif step == "got on" and places:
            place = places.pop(number % len(places))
            crowd.got_on(place, at_seconds)
            places.append(place)
        else:
            of = Counter(place.peer for place in places)
            found = crowd.stalest(peer, LATER + len(steps))
            if of[peer] + (of[peer] > 0) >= max(of.values(), default=0):
                assert found is None
            else:
                assert found is not None
                assert of[found.peer] == max(of.values())
                assert found is next(place for place in places if place.peer == found.peer)
