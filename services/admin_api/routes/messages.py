"""Incoming messages: what became of a 250."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.schemas.messages import MessageAnswer, TargetAnswer
from shared.store import messages

router = APIRouter(prefix="/messages", tags=["Messages"], route_class=CheckedRoute)

MessageId = Annotated[UUID, Path(description="The message's id, as our 250 named it.")]


@router.get("/{message_id}")
async def get_message(database: Store, message_id: MessageId) -> MessageAnswer:
    """What became of a message, at each recipient it was accepted for, by the id that our 250 named."""
    async with database.transaction() as session:
        found = await messages.find(session, message_id, with_content=False)
    if found is None:
        raise Problem(404, f"There is no message {message_id}.")
    message, targets = found
    return MessageAnswer(
        id=message.id,
        received_at=message.received_at,
        size_bytes=message.size_bytes,
        content_purged_at=message.content_purged_at,
        envelope_sender=message.envelope_sender,
        message_id=message.message_id,
        subject=message.subject,
        peer=message.peer,
        targets=[TargetAnswer.model_validate(target) for target in targets],
    )
