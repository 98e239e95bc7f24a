"""Events: what happened, in the past tense."""

from __future__ import annotations

from shared.contracts.base import Payload


class MailReceived(Payload, frozen=True, tag="MailReceived/1"):
    """Ingress stored a message and answered 250 for it."""

    message_id: str


class NodeSettingsChanged(Payload, frozen=True, tag="NodeSettingsChanged/1"):
    """Somebody changed a node's settings, or, without a name, what holds for all nodes: defaults, domain limits, TLS
    policies. The rows say to what."""

    node_name: str | None = None


class DeliveriesCancelled(Payload, frozen=True, tag="DeliveriesCancelled/1"):
    """Deliveries in a claimed batch that must not be started any more: an earlier holder did deliver them after all, or
    somebody cancelled them."""

    batch_id: int
    delivery_ids: tuple[int, ...]


class MailingChanged(Payload, frozen=True, tag="MailingChanged/1"):
    """Somebody paused, resumed or cancelled a mailing, or set its last moment. The rows say what holds now."""

    mailing_id: int


class AddressSuppressed(Payload, frozen=True, tag="AddressSuppressed/1"):
    """Nobody may mail this address, in its normalised form, any more."""

    email_key: str


class SubscriptionAsked(Payload, frozen=True, tag="SubscriptionAsked/1"):
    """Somebody used a web form: there is a request that nobody looked at."""

    request_id: int


class LeaveAsked(Payload, frozen=True, tag="LeaveAsked/1"):
    """A member's own link was used to leave, while the database could not be reached."""

    member_id: int
