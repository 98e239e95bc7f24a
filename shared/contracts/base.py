"""What every payload on the broker is: a frozen class whose name and schema version travel with it.

A payload is encoded as JSON with its name and version first, `{"type":"SendBatch/1","batch_id":7}`, so that a parked
payload can be read by a person. A change of meaning or shape makes a new version and a new class; the old one is kept
as long as any process may still publish it.
"""

from __future__ import annotations

import msgspec


class Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of all commands and events."""


class UnreadablePayload(ValueError):
    """The bytes are no payload that this version of Listfleet knows."""
