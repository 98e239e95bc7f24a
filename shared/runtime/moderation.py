"""Held posts: the moderators are told, one of them decides, and the author hears of it where it is known who that is.

All works in the caller's transaction; what comes back follows from its commit (`consequences.follow`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.core.address import Address, InvalidAddress
from shared.core.courtesy import CountedAs
from shared.core.held_post import MAX_BANNED, HeldDecision
from shared.core.links import Links
from shared.mail.excerpt import MAX_BYTES, excerpt
from shared.mail.notice_kinds import NoticeKind
from shared.runtime import notices
from shared.runtime.consequences import Consequences
from shared.runtime.notices import Notice
from shared.store import held_posts, messages
from shared.store import notices as kept_notices
from shared.store.engine import RawConnection
from shared.store.held_posts import Held

#: How long the links in a moderator's mail open the post's page.
LINK_DAYS = 30


@dataclass(frozen=True, slots=True)
class Decided:
    """What a decision came to."""

    held: Held
    is_author_told: bool
    consequences: Consequences


@dataclass(frozen=True, slots=True)
class Telling:
    """Writes to the moderators of held posts, or to the operator for a list that has none."""

    links: Links
    operator_address: str | None

    async def tell_of(self, connection: RawConnection, held: Held) -> Consequences:
        """Tell the moderators of a post that is held now, and its author that it is. Repeated, nothing is sent."""
        author = _author(held)
        if author is not None:
            await kept_notices.lock(connection, [author, *await self._moderators(connection, held.list_id)])
        told = await self._tell_moderators(connection, held, "new")
        if author is None or not held.tells_author or held.came_through_a_list:
            return told
        notice = Notice(
            NoticeKind.POST_HELD,
            f"held:{held.id}:author",
            held.list_id,
            author,
            _values(held),
            is_answer=True,
            counted_as=CountedAs.HELD_AUTHOR,
        )
        return told + await _tell(connection, notice)

    async def remind_of(self, connection: RawConnection, held: Held) -> Consequences:
        """Tell the moderators again."""
        return await self._tell_moderators(connection, held, f"again:{datetime.now(UTC):%Y-%m-%dT%H:%M}")

    async def _tell_moderators(self, connection: RawConnection, held: Held, word: str) -> Consequences:
        content = await messages.beginning_of(connection, held.message_id, max_bytes=MAX_BYTES)
        values = {
            **_values(held),
            "author_is": "shown by SPF or DKIM" if held.is_author_proven else "not shown: anybody may have written it",
            "excerpt": "\n".join(f"> {line}" for line in excerpt(content).splitlines()),
            **self._urls(held),
        }
        told = Consequences()
        moderators = await self._moderators(connection, held.list_id)
        await kept_notices.lock(connection, moderators)
        for to in moderators:
            cause = f"held:{held.id}:{word}:{to.key}"
            # Anybody can make many; those that nobody is told of are reminded of, and in the API.
            notice = Notice(NoticeKind.POST_TO_MODERATE, cause, held.list_id, to, values, counted_as=CountedAs.HELD)
            told += await _tell(connection, notice)
        return told

    async def _moderators(self, connection: RawConnection, list_id: int) -> Sequence[Address]:
        found = [Address.parse(email) for email in await held_posts.moderators_of(connection, list_id)]
        return found or ([Address.parse(self.operator_address)] if self.operator_address else [])

    def _urls(self, held: Held) -> dict[str, str]:
        ends_at = held.held_at + timedelta(days=LINK_DAYS)
        return {
            f"{choice}_url": self.links.moderation_url(held.id, choice, ends_at=ends_at)
            or f"(the API: POST /api/v1/held-posts/{held.id}/{choice})"
            for choice in CHOICES
        }


#: What a moderator may choose, by the word in links and paths.
CHOICES = {
    "approve": HeldDecision.APPROVED,
    "reject": HeldDecision.REJECTED,
    "discard": HeldDecision.DISCARDED,
    "ban": HeldDecision.BANNED,
}


async def decide(
    connection: RawConnection, held_id: int, decision: HeldDecision, *, decided_by: str, reason: str = ""
) -> Decided | None:
    """Decide about the post; `None` when somebody has, or there is none.

    Of a rejection the author is told, if SPF or DKIM vouched for who that is: nobody writes to a forged sender.
    """
    held = await held_posts.decide(connection, held_id, decision, decided_by=decided_by, reason=reason)
    if held is None:
        return None
    author = _author(held)
    if decision is HeldDecision.APPROVED:
        return Decided(held, False, Consequences(received=(held.message_id,)))
    if decision is HeldDecision.BANNED:
        await _ban(connection, held)
    if decision is not HeldDecision.REJECTED or author is None:
        return Decided(held, False, Consequences())
    notice = Notice(
        NoticeKind.POST_REJECTED,
        f"held:{held.id}:rejected",
        held.list_id,
        author,
        {**_values(held), "reason": reason},
    )
    return Decided(held, True, await _tell(connection, notice))


async def _ban(connection: RawConnection, held: Held) -> None:
    try:
        await held_posts.ban(connection, held.list_id, Address.parse(held.author).key, at_most=MAX_BANNED)
    except InvalidAddress:
        return


async def _tell(connection: RawConnection, notice: Notice) -> Consequences:
    """Send it if the mailbox may get one more."""
    if not await notices.has_room(connection, notice):
        return Consequences()
    return Consequences(tuple(await notices.send(connection, notice)))


def _author(held: Held) -> Address | None:
    """Who may be written to about the post."""
    if not held.is_author_proven:
        return None
    try:
        return Address.parse(held.author)
    except InvalidAddress:
        return None


def _values(held: Held) -> dict[str, str]:
    return {
        "author": held.author,
        "post_subject": held.subject or "(no subject)",
        "because": held.because,
        "size_bytes": str(held.size_bytes),
        "number": str(held.id),
    }
