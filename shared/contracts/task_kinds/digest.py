"""Digest: send what a list has collected for readers of digests."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from shared.contracts.bodies import Body, OneLine
from shared.contracts.task_kinds.member_sync import list_address


class DigestParameters(Body):
    """Of which list the posts that were collected are sent, as one digest. Where there are none, nothing is sent."""

    list: Annotated[OneLine, AfterValidator(list_address)]
    """The list's posting address."""
