"""What a node starts nothing of."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic
from typing import cast
from uuid import uuid4

import pytest

from services.outbound_sender import stop_list
from services.outbound_sender.copies import WireContent
from services.outbound_sender.held_batch import HeldBatch, Job
from services.outbound_sender.stop_list import StopList
from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.store.claims import ClaimedBatch, Recipient
from shared.store.stops import Stops


def job(delivery_id: int = 1, address: str = "Ann@Example.com", mailing_id: int = 7) -> Job:
    recipient = Recipient(delivery_id, 1, 1, address)
    batch = ClaimedBatch(1, uuid4(), mailing_id, datetime.now(UTC), Lane.POSTS, (recipient,), 0)
    held = HeldBatch(batch, cast("WireContent", None), 0.0, on_all_started=lambda: None)
    return Job(held, recipient, Address.parse(address))


def test_nothing_is_stopped_at_first() -> None:
    assert not StopList().covers(job())


def test_a_mailing_is_stopped_for_as_long_as_the_rows_say_so() -> None:
    stops = StopList()
    stops.read(Stops(mailing_ids=frozenset({7})))
    assert stops.covers(job())
    assert not stops.covers(job(mailing_id=8))
    stops.read(Stops())
    assert not stops.covers(job())


@pytest.mark.parametrize("address", ["ann@example.com", "ANN@EXAMPLE.COM", '"ann"@example.com', "Ann@example.com"])
def test_a_suppressed_address_is_stopped_in_any_spelling(address: str) -> None:
    stops = StopList()
    stops.hear(["ann@example.com"])
    assert stops.covers(job(address=address))
    assert not stops.covers(job(address="ann+news@example.com")), "another mailbox"


def test_an_internationalised_domain_is_one_address() -> None:
    stops = StopList()
    stops.read(Stops(email_keys=frozenset({"ann@xn--bcher-kva.example"})))
    assert stops.covers(job(address="ann@b\u00fccher.example"))


def test_what_was_heard_is_remembered_until_it_is_claimed_anew() -> None:
    stops = StopList()
    stops.hear(["ann@example.com"])
    stops.hear([2])
    stops.read(Stops())
    assert stops.covers(job())
    assert stops.covers(job(2, "bob@example.com"))
    asked_before, asked_after = 0.0, monotonic() + 1
    stops.claimed([1, 2], [Address.parse("Ann@example.com"), Address.parse("bob@example.com")], asked_before)
    assert stops.covers(job()), "heard while the claim was on its way"
    assert stops.covers(job(2, "bob@example.com"))
    stops.claimed([1, 2], [Address.parse("Ann@example.com"), Address.parse("bob@example.com")], asked_after)
    assert not stops.covers(job())
    assert not stops.covers(job(2, "bob@example.com"))


def test_what_was_heard_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    stops = StopList()
    stops.hear(["ann@example.com"])
    monkeypatch.setattr(stop_list, "REMEMBERED_SECONDS", -1.0)
    stops.read(Stops())
    assert not stops.covers(job())
