"""Who may come in, and when a message may begin."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from services.ingress_smtp import admission as admission_module
from services.ingress_smtp import crowd
from services.ingress_smtp.admission import Admission
from services.ingress_smtp.crowd import Place
from shared.core.ingress_limits import BusyBecause, IngressLimits
from shared.core.smtp_reply import Reply


def admission_with(*, most_sessions: int = 100, is_draining: bool = False, **limits: object) -> Admission:
    admission = Admission(most_sessions)
    admission.apply(IngressLimits(**limits), is_draining=is_draining)  # type: ignore[arg-type]
    return admission


def admitted(admission: Admission, address: str | None = "192.0.2.7") -> Place:
    place = admission.admit(address)
    assert isinstance(place, Place)
    return place


async def test_sessions_above_the_limit_are_told_to_come_back_until_one_leaves() -> None:
    admission = admission_with(max_connections=2)
    places = [admitted(admission, f"192.0.2.{number}") for number in range(2)]
    assert admission.admit("192.0.2.9") == Reply(421, "4.3.2 Too many sessions, please try again later")
    assert admission.busy_because() is BusyBecause.MAX_CONNECTIONS
    admission.leave(places[0])
    assert admission.busy_because() is None
    admitted(admission, "192.0.2.9")


async def test_a_peer_has_its_share_and_is_counted_by_address_or_by_64() -> None:
    admission = admission_with(max_connections_per_peer=1)
    place = admitted(admission, "2001:db8::1")
    assert isinstance(admission.admit("2001:db8::2"), Reply), "the same /64"
    admitted(admission, "2001:db8:0:1::1")
    admitted(admission, "192.0.2.7")
    assert isinstance(admission.admit("::ffff:192.0.2.7"), Reply)
    assert admission.busy_because() is None, "others may come in"
    admission.leave(place)
    admitted(admission, "2001:db8::2")
    admitted(admission, None)
    admitted(admission, None)  # A proxy that speaks for itself is no peer.


async def test_open_files_are_a_limit_too() -> None:
    admission = admission_with(most_sessions=1, max_connections=None)
    admitted(admission)
    assert admission.busy_because() is BusyBecause.OPEN_FILES
    assert isinstance(admission.admit("192.0.2.9"), Reply)


async def test_a_node_that_is_switched_off_or_drained_lets_nobody_in() -> None:
    assert admission_with(accepting_enabled=False).busy_because() is BusyBecause.ACCEPTING_ENABLED
    admission = admission_with(is_draining=True)
    assert admission.busy_because() is BusyBecause.DRAINING
    assert admission.admit("192.0.2.7") == Reply(421, "4.3.2 The server takes no mail now, please try again later")
    admission.apply(IngressLimits(), is_draining=False)
    admitted(admission)


async def test_messages_begin_one_after_the_other_by_the_rate() -> None:
    admission = admission_with(max_messages_per_second=20)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert all(await asyncio.gather(*(admission.turn() for _ in range(10))))
    assert loop.time() - began >= 10 / 20 - 0.02


async def test_a_message_that_cannot_begin_soon_does_not_wait_at_all() -> None:
    admission = admission_with(max_messages_per_second=0.1)
    assert admission.busy_because() is BusyBecause.MAX_MESSAGES_PER_SECOND
    assert not await admission.turn()


async def test_those_who_wait_count_for_whoever_comes_next() -> None:
    admission = admission_with(max_messages_per_second=2)
    assert admission.busy_because() is None
    waiting = [asyncio.create_task(admission.turn()) for _ in range(20)]
    await asyncio.sleep(0)
    assert admission.busy_because() is BusyBecause.MAX_MESSAGES_PER_SECOND
    assert sum(not task.done() for task in waiting) == 10, "the others were told at once"
    admission.apply(IngressLimits(), is_draining=False)
    assert sum(await asyncio.gather(*waiting)) == 10, "lifted, it holds nobody who waits"


async def test_without_a_rate_nobody_waits() -> None:
    admission = admission_with()
    async with asyncio.timeout(10):
        assert all([await admission.turn() for _ in range(1000)])


@pytest.mark.parametrize(("max_connections", "most_sessions"), [(10, 100), (None, 10), (1000, 10)])
async def test_a_node_is_crowded_before_it_is_full(max_connections: int | None, most_sessions: int) -> None:
    admission = admission_with(most_sessions=most_sessions, max_connections=max_connections)
    for number in range(7):
        admitted(admission, f"192.0.2.{number}")
    assert not admission.is_crowded
    admitted(admission, "192.0.2.8")
    assert admission.is_crowded
    assert admission.busy_because() is None


async def test_only_so_many_may_be_about_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(admission_module, "MOST_LEAVING", 1)
    admission = admission_with(max_connections=2)
    ended: list[Place] = []
    places = [admitted(admission), admitted(admission)]
    for place in places:
        place.end = partial(ended.append, place)
    admitted(admission, "192.0.2.8")
    assert ended == places[:1]
    assert isinstance(admission.admit("192.0.2.9"), Reply), "its file is open still"
    admission.leave(places[0])
    admitted(admission, "192.0.2.9")
    assert ended == places
    assert admission.busy_because() is BusyBecause.MAX_CONNECTIONS
    admission.leave(places[1])
    assert admission.busy_because() is BusyBecause.MAX_CONNECTIONS, "two newcomers have the places"
