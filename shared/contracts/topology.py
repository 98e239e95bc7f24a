"""Every exchange and queue, once.

Work travels through one direct exchange, by a routing key that is the queue's name; what all processes shall hear goes
through a fanout exchange, to a queue of each process's own. What nobody can handle is dead-lettered to `parked`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

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
    SubscriptionAsked,
)

WORK_EXCHANGE = "listfleet.work"
CONTROL_EXCHANGE = "listfleet.control"
PARKED_EXCHANGE = "listfleet.parked"

#: RabbitMQ counts a message as delivered again when a neighbour killed its consumer, and drops or dead-letters it at
#: the limit (20 by default from 4.0). Deaths are counted in PostgreSQL instead, so this limit is out of the way.
DELIVERY_LIMIT = 1_000_000


class Lane(StrEnum):
    """A class of priority with a queue of its own."""

    #: Confirmations, replies, mail to the operator.
    EXPRESS = "express"
    #: What members post to lists.
    POSTS = "posts"
    #: Newsletters and digests.
    BULK = "bulk"

    @property
    def queue(self) -> str:
        return f"send.{self.value}"

    @property
    def limited_queue(self) -> str:
        """For batches under a limit of their domain or list: they wait for their moments without being in the way."""
        return f"send.{self.value}.limited"


class TaskQueue(StrEnum):
    """The schedulers' queues; express mail has one of its own, so that a long expansion never delays it, and what is
    done at its time has another, so that it delays no post."""

    EXPRESS = "tasks.express"
    TASKS = "tasks"
    SCHEDULED = "tasks.scheduled"


PARKED_QUEUE = "parked"
#: What readers do.
TRACKING_QUEUE = "tracking"
#: When the database is away for long, what comes then stays with the tracking nodes.
TRACKING_QUEUE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class QueueDeclaration:
    """A queue, the exchange it is bound to by its own name, and its arguments."""

    name: str
    exchange: str
    arguments: dict[str, Any]


def _work_queue(name: str, **bounds: int) -> QueueDeclaration:
    return QueueDeclaration(
        name,
        WORK_EXCHANGE,
        {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": PARKED_EXCHANGE,
            "x-dead-letter-routing-key": PARKED_QUEUE,
            "x-dead-letter-strategy": "at-least-once",
            # What at-least-once dead-lettering needs.
            "x-overflow": "reject-publish",
            **{f"x-{bound.replace('_', '-')}": value for bound, value in bounds.items()},
        },
    )


#: All durable queues.
QUEUES: tuple[QueueDeclaration, ...] = (
    *(_work_queue(lane.queue) for lane in Lane),
    *(_work_queue(lane.limited_queue) for lane in Lane),
    *(_work_queue(queue.value) for queue in TaskQueue),
    _work_queue(TRACKING_QUEUE, max_length_bytes=TRACKING_QUEUE_BYTES),
    QueueDeclaration(PARKED_QUEUE, PARKED_EXCHANGE, {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}),
)

#: Every payload that may travel, in every version that is still read.
KNOWN_PAYLOADS = (
    SendBatch
    | ExpandMailing
    | RunTask
    | MakeDigest
    | MailReceived
    | NodeSettingsChanged
    | DeliveriesCancelled
    | MailingChanged
    | AddressSuppressed
    | SubscriptionAsked
    | LeaveAsked
    | CopiesRead
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Payload] = msgspec.json.Decoder(KNOWN_PAYLOADS)


def encode(payload: Payload) -> bytes:
    """The payload as JSON, its name and version in the field `type`."""
    return _encoder.encode(payload)


def decode(body: bytes) -> Payload:
    """The payload in `body`; `UnreadablePayload`, with the reason, when it is broken or of an unknown version."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadablePayload(str(error)) from error
