"""What is on the broker now can be read by this version, and what this version says stays as it is.

A sample is never changed: a new shape is a new version, with a new sample beside the old one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from uuid import UUID

import pytest

from shared.contracts.base import Payload, UnreadablePayload
from shared.contracts.commands import ExpandMailing, MakeDigest, RunTask, SendBatch
from shared.contracts.events import (
    AddressSuppressed,
    CopiesRead,
    DeliveriesCancelled,
    LeaveAsked,
    MailingChanged,
    MailReceived,
    NodeSettingsChanged,
    ReadEvent,
    SubscriptionAsked,
)
from shared.contracts.topology import (
    KNOWN_PAYLOADS,
    PARKED_QUEUE,
    QUEUES,
    TRACKING_QUEUE,
    Lane,
    TaskQueue,
    decode,
    encode,
)
from shared.core.readings import MachineSign

SAMPLES = Path(__file__).parent / "samples"

EXPECTED: dict[str, Payload] = {
    "SendBatch-1": SendBatch(7),
    "ExpandMailing-1": ExpandMailing(42),
    "RunTask-1": RunTask(42),
    "MakeDigest-1": MakeDigest(7),
    "MailReceived-1": MailReceived("0192f0c1-2b3c-7d4e-8f50-61728394a5b6"),
    "NodeSettingsChanged-1": NodeSettingsChanged("outbound-1"),
    "NodeSettingsChanged-1-defaults": NodeSettingsChanged(None),
    "DeliveriesCancelled-1": DeliveriesCancelled(7, (1, 2, 3)),
    "MailingChanged-1": MailingChanged(42),
    "AddressSuppressed-1": AddressSuppressed("ann@example.com"),
    "SubscriptionAsked-1": SubscriptionAsked(7),
    "LeaveAsked-1": LeaveAsked(7),
    "CopiesRead-1": CopiesRead(
        (
            ReadEvent(
                UUID("0192f0c1-2b3c-7d4e-8f50-61728394a5b6"),
                datetime(2026, 11, 23, 12, 30, 0, 250_000, tzinfo=UTC),
                42,
                7,
                "https://shop.example/a?b=c",
            ),
            ReadEvent(
                UUID("0192f0c1-2b3c-7d4e-8f50-61728394a5b7"),
                datetime(2026, 11, 23, 12, 30, tzinfo=UTC),
                42,
                None,
                None,
                MachineSign.PROXY,
            ),
        )
    ),
}


def test_every_stored_sample_is_expected() -> None:
    assert {sample.stem for sample in SAMPLES.glob("*.json")} == set(EXPECTED)


def test_every_payload_that_may_travel_has_a_sample() -> None:
    assert {type(payload) for payload in EXPECTED.values()} == set(get_args(KNOWN_PAYLOADS))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_stored_sample_is_read_as_it_was_meant(name: str) -> None:
    assert decode((SAMPLES / f"{name}.json").read_bytes()) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_payload_is_written_as_it_always_was(name: str) -> None:
    assert encode(EXPECTED[name]) == (SAMPLES / f"{name}.json").read_bytes().rstrip(b"\n")


@pytest.mark.parametrize("name", EXPECTED)
def test_the_name_and_version_come_first(name: str) -> None:
    kind, _, version = name.partition("-")
    assert encode(EXPECTED[name]).startswith(f'{{"type":"{kind}/{version[0]}"'.encode())


@pytest.mark.parametrize("name", EXPECTED)
def test_a_version_that_does_not_exist_yet_is_refused(name: str) -> None:
    with pytest.raises(UnreadablePayload):
        decode((SAMPLES / f"{name}.json").read_bytes().replace(b'/1"', b'/2"'))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_field_that_does_not_exist_yet_is_refused(name: str) -> None:
    with pytest.raises(UnreadablePayload, match="surprise"):
        decode(encode(EXPECTED[name]).replace(b"}", b',"surprise":1}'))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_payload_without_its_name_is_refused(name: str) -> None:
    with pytest.raises(UnreadablePayload):
        decode(encode(EXPECTED[name]).replace(b'"type"', b'"kind"'))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_payload_is_frozen(name: str) -> None:
    field = EXPECTED[name].__struct_fields__[0]
    with pytest.raises(AttributeError):
        setattr(EXPECTED[name], field, None)


def test_every_lane_and_task_has_a_queue() -> None:
    names = [declaration.name for declaration in QUEUES]
    lanes = [queue for lane in Lane for queue in (lane.queue, lane.limited_queue)]
    assert sorted(names) == sorted([*lanes, *(q.value for q in TaskQueue), TRACKING_QUEUE, PARKED_QUEUE])


@pytest.mark.parametrize("declaration", QUEUES, ids=lambda declaration: declaration.name)
def test_every_queue_survives_a_node_and_loses_nothing_by_counting(declaration: object) -> None:
    arguments = declaration.arguments  # type: ignore[attr-defined]
    assert arguments["x-queue-type"] == "quorum"
    assert arguments["x-delivery-limit"] >= 1_000_000
    if declaration.name != PARKED_QUEUE:  # type: ignore[attr-defined]
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert arguments["x-overflow"] == "reject-publish"
