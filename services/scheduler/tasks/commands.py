"""Commands by mail: what was sent to LIST-join@, -leave@, -confirm+token@ and -request@ is done, and answered once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from shared.core.address import Address
from shared.core.courtesy import MAX_COMMANDS_A_NETWORK, MAX_COMMANDS_A_PEER, CountedAs
from shared.core.list_address import Door, DoorAddress
from shared.core.mailing import TargetState
from shared.core.subscription import RequestAction, RequestSource
from shared.core.tokens import Purpose, Tokens
from shared.mail.answerable import NoAnswer, writer_of
from shared.mail.commands import MAX_BYTES, Command, CommandKind, Commands, read_commands
from shared.mail.notice_kinds import NoticeKind
from shared.runtime import notices
from shared.runtime.consequences import Consequences
from shared.runtime.notices import Notice
from shared.runtime.subscriptions import MODE_WORDS, Confirmed, Subscriptions
from shared.store import form_tallies, handling, members, messages, subscription_requests
from shared.store.engine import RawConnection
from shared.store.handling import Waiting
from shared.store.messages import NewTarget

HELP = """Commands, one a line, in the subject or the text:
  join           become a member
  leave          be one no more
  set mail       get each post
  set digest     get digests; `set digest mime` or `set digest plain` says in which form
  set nomail     get nothing, and stay a member
  which          the lists that your address is on
  help           this text
  end            what follows is not read"""

NOT_SHOWN = "which: this is told only where SPF or DKIM shows that the mail that asks is yours."

_IMPLIED = {Door.JOIN: Command(CommandKind.JOIN), Door.LEAVE: Command(CommandKind.LEAVE)}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A message with commands, and whom it is answered to."""

    message_id: UUID
    list_id: int
    address: Address
    #: SPF or DKIM vouches for the address.
    is_author_proven: bool


@dataclass(frozen=True, slots=True)
class ObeyCommands:
    """Decides about mail to a list's command addresses, in the transaction that handles the message."""

    subscriptions: Subscriptions
    tokens: Tokens
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def obey(self, connection: RawConnection, message: Waiting, target: NewTarget) -> Consequences:
        """What follows from the commit. Nothing of the message is repeated in an answer."""
        door = DoorAddress.parse(target.address.rpartition("@")[0])
        if door is None:
            raise ValueError(f"{target.address} is no address of a list's")
        content = await messages.beginning_of(connection, message.id, max_bytes=MAX_BYTES)
        if door.door is Door.LEAVE and door.token:
            return await self._leave(connection, message.id, target, door.token)
        writer = writer_of(content, message.envelope_sender)
        if isinstance(writer, NoAnswer):
            return await _keep(connection, message.id, target, writer.because)
        if door.door is Door.CONFIRM:
            return await self._confirm(connection, message.id, target, door.token)
        if not await _may_ask(connection, message.peer):
            return await _keep(connection, message.id, target, "too many commands came from its server this hour")
        if target.list_id is None:
            raise ValueError(f"{target.address} is a list's, but no list is named")
        implied = _IMPLIED.get(door.door)
        commands = Commands((implied,), 0) if implied else read_commands(content)
        await handling.decide(connection, message.id, target.address, TargetState.OBEYED)
        asked = _Asked(message.id, target.list_id, writer.address, is_author_proven=target.is_author_proven)
        return await self._answer(connection, asked, commands)

    async def _leave(self, connection: RawConnection, message_id: UUID, target: NewTarget, token: str) -> Consequences:
        """RFC 8058's other half: whoever has the member's own address acts for it, and nothing is answered."""
        member_id = self.tokens.read(Purpose.LEAVE, token, now=self.now())
        member = None if member_id is None else await members.membership_of(connection, member_id)
        # Whatever list it was sent to: a newsletter's copies name its first list's address, whoever the member is.
        if member is None:
            return await _keep(connection, message_id, target, "its token is nobody's")
        await handling.decide(connection, message_id, target.address, TargetState.OBEYED)
        return await self.subscriptions.leave(connection, member.id)

    async def _confirm(
        self, connection: RawConnection, message_id: UUID, target: NewTarget, token: str
    ) -> Consequences:
        confirmed, consequences = await self._confirmed(connection, token, target.list_id)
        if confirmed is Confirmed.GONE:
            return await _keep(connection, message_id, target, "there is nothing to confirm (any more)")
        await handling.decide(connection, message_id, target.address, TargetState.OBEYED)
        return consequences

    async def _confirmed(
        self, connection: RawConnection, token: str, list_id: int | None
    ) -> tuple[Confirmed, Consequences]:
        """A token counts at its own list's addresses, or where the address names no list."""
        request_id = self.tokens.read(Purpose.CONFIRM, token, now=self.now())
        request = None if request_id is None else await subscription_requests.look(connection, request_id)
        if request is None or list_id not in (None, request.list_id):
            return Confirmed.GONE, Consequences()
        return await self.subscriptions.confirm(connection, request.id)

    async def _answer(self, connection: RawConnection, asked: _Asked, commands: Commands) -> Consequences:
        """At most one mail: that which the first change brings about says also what came of the other commands."""
        changes = [command for command in commands.commands if _action(command)]
        results, consequences = [], Consequences()
        for command in commands.commands:
            if command.kind is CommandKind.CONFIRM:
                confirmed, followed = await self._confirmed(connection, command.token, asked.list_id)
                consequences += followed
                results.append(f"confirm: {_CONFIRMED_WORDS[confirmed]}.")
            elif command.kind is CommandKind.WHICH:
                results += await _which(connection, asked.address) if asked.is_author_proven else [NOT_SHOWN]
            elif command.kind is CommandKind.HELP:
                results.append(HELP)
        if consequences.batches:
            return consequences  # What was confirmed has an answer of its own.
        if commands.strange_lines:
            results.append(f"Lines that are no commands: {commands.strange_lines}.")
        if len(changes) > 1:
            results.append("Only the first change of a message is begun: please send the others by themselves.")
        action = _action(changes[0]) if changes else None
        if action is not None:
            request = await subscription_requests.add(
                connection, asked.list_id, asked.address, action, RequestSource.MAIL
            )
            return consequences + await self.subscriptions.begin(connection, request, results)
        answer = Notice(
            NoticeKind.ANSWER,
            f"message:{asked.message_id}:{asked.list_id}",
            asked.list_id,
            asked.address,
            {"results": "\n\n".join(results if commands.commands else [*results, HELP])},
            is_answer=True,
            counted_as=CountedAs.ANSWER,
        )
        if await notices.has_room(connection, answer):
            consequences += Consequences(tuple(await notices.send(connection, answer)))
        return consequences


_CONFIRMED_WORDS = {
    Confirmed.DONE: "done",
    Confirmed.PENDING: "the list's owners decide now",
    Confirmed.GONE: "there is nothing to confirm with this token",
}


def _action(command: Command) -> RequestAction | None:
    """What the command asks for, if it is a change."""
    if command.mode is not None:
        return RequestAction.setting(command.mode, command.digest_format)
    return {CommandKind.JOIN: RequestAction.JOIN, CommandKind.LEAVE: RequestAction.LEAVE}.get(command.kind)


async def _may_ask(connection: RawConnection, host: str) -> bool:
    """Whether the server that a message came from may bring one more; it is counted."""
    return await form_tallies.may_use(
        connection, host, max_a_peer=MAX_COMMANDS_A_PEER, max_a_network=MAX_COMMANDS_A_NETWORK, counted_as="mail "
    )


async def _which(connection: RawConnection, address: Address) -> list[str]:
    found = await members.lists_of(connection, address.key)
    if not found:
        return [f"{address} is on no list here."]
    return [f"{address} is on these lists:", *(f"  {listed}: {MODE_WORDS[mode]}" for listed, mode in found)]


async def _keep(connection: RawConnection, message_id: UUID, target: NewTarget, because: str) -> Consequences:
    await handling.decide(connection, message_id, target.address, TargetState.KEPT, because=f"Not obeyed: {because}.")
    return Consequences()
