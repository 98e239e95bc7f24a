"""Commands: orders to whoever has room."""

from __future__ import annotations

from shared.contracts.base import Payload


class SendBatch(Payload, frozen=True, tag="SendBatch/1"):
    """Send this batch, if its row can still be claimed. The id is all that matters: the members are rows."""

    batch_id: int


class ExpandMailing(Payload, frozen=True, tag="ExpandMailing/1"):
    """Make the deliveries of this mailing, from where its row says that it stands."""

    mailing_id: int


class RunTask(Payload, frozen=True, tag="RunTask/1"):
    """Do this run of a scheduled task, if its row can be claimed."""

    run_id: int


class MakeDigest(Payload, frozen=True, tag="MakeDigest/1"):
    """Make the mailings of this digest, which is closed, as far as its rows say that it is time for them."""

    digest_id: int
