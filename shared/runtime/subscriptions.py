"""Joining, leaving and changing, step by step: what a request needs next, and which mail says so.

Every method works in the caller's transaction and returns what follows from its commit (`consequences.follow`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from shared.core.address import Address
from shared.core.courtesy import CountedAs
from shared.core.digest import DigestFormat
from shared.core.links import Links
from shared.core.list_address import Door, DoorAddress
from shared.core.membership import DeliveryMode, MemberStatus
from shared.core.subscription import (
    RequestAction,
    RequestSource,
    RequestState,
    Step,
    first_step,
    step_after_confirmation,
)
from shared.mail.notice_kinds import NoticeKind
from shared.runtime import notices
from shared.runtime.consequences import Consequences
from shared.runtime.notices import Notice
from shared.store import lists, members, subscription_requests
from shared.store import notices as kept_notices
from shared.store.engine import RawConnection
from shared.store.lists import AboutList
from shared.store.members import Membership
from shared.store.subscription_requests import Request

#: How long a mailed link to one's preferences opens.
PREFERENCES_HOURS = 24

#: What a mode is called to people.
MODE_WORDS = {
    DeliveryMode.MAIL: "each post as a mail",
    DeliveryMode.DIGEST: "digests",
    DeliveryMode.NOMAIL: "no mail",
}
_FORMAT_WORDS = {DigestFormat.MIME: ", each post whole (MIME)", DigestFormat.PLAIN: ", as plain text"}


class Confirmed(Enum):
    """What a confirmation came to."""

    DONE = auto()
    PENDING = auto()
    #: Nothing was to be confirmed: unknown, expired, or not possible any more.
    GONE = auto()


class Subscriptions:
    """The steps. Without state: any process does any of them."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def begin(self, connection: RawConnection, request: Request, results: Sequence[str] = ()) -> Consequences:
        """Do with a new request what comes first. `results` are lines that the answer to the same message says too.

        One mail at most goes to the request's address, and to an address that is none of the list's only where it
        wrote itself, or asks to join.
        """
        about = await lists.about(connection, request.list_id)
        member = await members.membership(connection, request.list_id, request.address.key)
        is_invited = request.source is RequestSource.INVITATION
        step = first_step(request.action, about.policy, member.status if member else None, is_invited=is_invited)
        say = _Answerer(connection, about, request, results)
        if step is Step.CONFIRM:
            return await self._ask_to_confirm(connection, about, request, say)
        if step is Step.APPROVE:
            return await self._ask_owners(connection, about, request, say)
        if step is Step.DO:
            return await self._do(connection, about, request, member, say)
        await subscription_requests.move(connection, request.id, RequestState.DROPPED)
        if step is Step.MAIL_LINK and member is not None:
            return await self._mail_link(member, say)
        if step is Step.IS_MEMBER:
            return await say.counted(NoticeKind.ALREADY_MEMBER, CountedAs.CONFIRMATION)
        if request.source is RequestSource.MAIL:
            because = "is not on the list" if step is Step.IS_NO_MEMBER else "cannot join: the list is closed"
            return await say.answer(f"{request.action.value.replace('_', ' ')}: {request.address} {because}.")
        return Consequences()

    async def confirm(self, connection: RawConnection, request_id: int) -> tuple[Confirmed, Consequences]:
        """The request's address says that it is meant. A second time changes nothing."""
        request = await subscription_requests.take(connection, request_id)
        if request is None or request.is_expired:
            return Confirmed.GONE, Consequences()
        if request.state is RequestState.DONE:
            return Confirmed.DONE, Consequences()
        if request.state is RequestState.PENDING:
            return Confirmed.PENDING, Consequences()
        if request.state is not RequestState.CONFIRMING:
            return Confirmed.GONE, Consequences()
        await kept_notices.count_no_more(connection, _cause(request, "confirm"))
        about = await lists.about(connection, request.list_id)
        is_invited = request.source is RequestSource.INVITATION
        step = step_after_confirmation(request.action, about.policy, is_invited=is_invited)
        say = _Answerer(connection, about, request)
        if step is Step.MAY_NOT_JOIN:
            await subscription_requests.move(connection, request.id, RequestState.DROPPED)
            return Confirmed.GONE, Consequences()
        if step is Step.APPROVE:
            return Confirmed.PENDING, await self._ask_owners(connection, about, request, say)
        member = await members.membership(connection, request.list_id, request.address.key)
        return Confirmed.DONE, await self._do(connection, about, request, member, say)

    async def approve(self, connection: RawConnection, request: Request) -> Consequences:
        """The owners let the pending request's address in."""
        about = await lists.about(connection, request.list_id)
        member = await members.membership(connection, request.list_id, request.address.key)
        return await self._do(connection, about, request, member, _Answerer(connection, about, request))

    async def reject(self, connection: RawConnection, request: Request, reason: str) -> Consequences:
        """The owners do not; the address is told, with their reason."""
        about = await lists.about(connection, request.list_id)
        await subscription_requests.move(connection, request.id, RequestState.REJECTED)
        return await _Answerer(connection, about, request).say(NoticeKind.REJECTED, reason=reason)

    async def leave(self, connection: RawConnection, member_id: int) -> Consequences:
        """The member left by its own link: no mail follows, and none that is open goes out.

        A second time changes nothing, and stops what the first did not come to stop.
        """
        await members.leave(connection, member_id)
        return Consequences(left=(member_id,))

    async def invite_back(
        self, connection: RawConnection, list_id: int, address: Address, because: str
    ) -> Consequences:
        """Tell a member who was held now, and why. An answer to the mail, or its page's button, lets it in again."""
        about = await lists.about(connection, list_id)
        request = await subscription_requests.add(
            connection, list_id, address, RequestAction.JOIN, RequestSource.INVITATION
        )
        await subscription_requests.move(connection, request.id, RequestState.CONFIRMING)
        confirm_address = self._links.confirm_address(about.name, about.domain, request.id)
        values = {
            "reason": because,
            "join_address": f"{DoorAddress(Door.JOIN, about.name).local}@{about.domain}",
            "confirm_address": confirm_address,
            "confirm_url": self._links.confirm_url(about.name, about.domain, request.id),
        }
        say = _Answerer(connection, about, request)
        notice = say.notice(NoticeKind.HELD, "held", None, values, reply_to=confirm_address)
        return Consequences(tuple(await notices.send(connection, notice)))

    async def _ask_to_confirm(
        self, connection: RawConnection, about: AboutList, request: Request, say: _Answerer
    ) -> Consequences:
        kind = {RequestAction.JOIN: NoticeKind.CONFIRM_JOIN, RequestAction.LEAVE: NoticeKind.CONFIRM_LEAVE}.get(
            request.action, NoticeKind.CONFIRM_CHANGE
        )
        address = self._links.confirm_address(about.name, about.domain, request.id)
        values = {
            "confirm_address": address,
            "confirm_url": self._links.confirm_url(about.name, about.domain, request.id),
            "change": _change(request.action),
        }
        if request.source is RequestSource.INVITATION:
            kind = NoticeKind.INVITATION
        notice = say.notice(kind, "confirm", CountedAs.CONFIRMATION, values, reply_to=address)
        if not await notices.has_room(connection, notice):
            await subscription_requests.move(connection, request.id, RequestState.DROPPED)
            # Not a word about it alone: that would be one more mail that anybody can bring about.
            return await say.answer("The address was asked to confirm within a day.") if say.results else Consequences()
        await subscription_requests.move(connection, request.id, RequestState.CONFIRMING)
        return Consequences(tuple(await notices.send(connection, notice)))

    async def _ask_owners(
        self, connection: RawConnection, about: AboutList, request: Request, say: _Answerer
    ) -> Consequences:
        """Once for an address, however often it asks meanwhile."""
        if await subscription_requests.is_pending(connection, about.id, request.address.key):
            await subscription_requests.move(connection, request.id, RequestState.DROPPED)
            return Consequences()
        await subscription_requests.move(connection, request.id, RequestState.PENDING)
        owners = await members.owners(connection, about.id)
        await kept_notices.lock(connection, [request.address, *owners])
        done = await say.counted(NoticeKind.AWAITING_APPROVAL, CountedAs.CONFIRMATION)
        for owner in owners:
            wanted = Notice(
                NoticeKind.APPROVAL_WANTED,
                f"{_cause(request, 'wanted')}:{owner.key}",
                about.id,
                owner,
                {"member": request.address.spelling, "request": str(request.id)},
                # Anybody can make many; those that nobody is told of are in the API.
                counted_as=CountedAs.ANSWER,
            )
            if await notices.has_room(connection, wanted):
                done += Consequences(tuple(await notices.send(connection, wanted)))
        return done

    async def _do(
        self, connection: RawConnection, about: AboutList, request: Request, member: Membership | None, say: _Answerer
    ) -> Consequences:
        await subscription_requests.move(connection, request.id, RequestState.DONE)
        if request.action is RequestAction.JOIN:
            if member is not None and member.status is MemberStatus.SUBSCRIBED:
                return Consequences()
            await members.join(connection, about.id, request.address)
            leave_address = f"{DoorAddress(Door.LEAVE, about.name).local}@{about.domain}"
            # Nobody knows whether the address asked for it itself, where nothing had to be confirmed.
            counted_as = CountedAs.CONFIRMATION if request.state is RequestState.ASKED else None
            return await say.counted(NoticeKind.WELCOME, counted_as, leave_address=leave_address)
        if member is None or member.status is MemberStatus.UNSUBSCRIBED:
            return Consequences()
        if request.action is RequestAction.LEAVE:
            return await self.leave(connection, member.id) + await say.say(NoticeKind.GOODBYE)
        if request.action.mode is None:
            raise ValueError(f"{request.action} is nothing to do")
        await members.set_mode(connection, member.id, request.action.mode, request.action.digest_format)
        return await say.say(NoticeKind.CHANGED, change=_change(request.action))

    async def _mail_link(self, member: Membership, say: _Answerer) -> Consequences:
        ends_at = datetime.now(UTC) + timedelta(hours=PREFERENCES_HOURS)
        url = self._links.preferences_url(member.id, ends_at=ends_at)
        if url is None:
            return Consequences()
        return await say.counted(
            NoticeKind.PREFERENCES, CountedAs.CONFIRMATION, preferences_url=url, hours=str(PREFERENCES_HOURS)
        )


@dataclass(frozen=True, slots=True)
class _Answerer:
    """Says one thing to the request's address."""

    connection: RawConnection
    about: AboutList
    request: Request
    results: Sequence[str] = ()

    def notice(
        self,
        kind: NoticeKind,
        word: str,
        counted_as: CountedAs | None,
        values: Mapping[str, str],
        reply_to: str | None = None,
    ) -> Notice:
        return Notice(
            kind,
            _cause(self.request, word),
            self.about.id,
            self.request.address,
            {**values, "results": "\n".join(self.results)},
            reply_to=reply_to,
            is_answer=self.request.source is not RequestSource.INVITATION,
            counted_as=counted_as,
        )

    async def say(self, kind: NoticeKind, **values: str) -> Consequences:
        return await self.counted(kind, None, **values)

    async def counted(self, kind: NoticeKind, counted_as: CountedAs | None, **values: str) -> Consequences:
        """Say it if the mailbox may get it."""
        notice = self.notice(kind, kind.value, counted_as, values)
        if not await notices.has_room(self.connection, notice):
            return Consequences()
        return Consequences(tuple(await notices.send(self.connection, notice)))

    async def answer(self, line: str) -> Consequences:
        """Say `line` with the other results."""
        also = _Answerer(self.connection, self.about, self.request, (*self.results, line))
        return await also.counted(NoticeKind.ANSWER, CountedAs.ANSWER)


def _change(action: RequestAction) -> str:
    """What the action changes, in words; empty for one that changes no setting."""
    if action.mode is None:
        return ""
    return MODE_WORDS[action.mode] + (_FORMAT_WORDS[action.digest_format] if action.digest_format else "")


def _cause(request: Request, word: str) -> str:
    return f"request:{request.id}:{word}"
