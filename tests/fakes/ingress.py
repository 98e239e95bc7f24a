"""What ingress asks of others, kept in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.ingress_smtp.intake import Submission
from services.ingress_smtp.trace import Client
from shared.core.address import Address
from shared.core.authorship import Belief
from shared.core.membership import MemberRole, PostingPolicy
from shared.core.smtp_reply import Reply
from shared.store.arrivals import KnownAuthor, KnownList
from shared.store.engine import StoreUnavailable
from shared.store.messages import NewMessage
from shared.store.posts import PostsToday

DEV = KnownList(1, "dev", "lists.test", PostingPolicy.MEMBERS)
NEWS = KnownList(2, "news", "lists.test", PostingPolicy.ANNOUNCEMENT)
OPEN = KnownList(3, "open", "lists.test", PostingPolicy.ANYONE)


class FakeStore:
    """Lists, members and stored messages; `is_down` makes it a database that cannot be reached."""

    def __init__(self) -> None:
        self.lists = {(known.name, known.domain): known for known in (DEV, NEWS, OPEN)}
        #: By list and address.
        self.members: dict[tuple[int, str], MemberRole] = {
            (DEV.id, "ann@example.org"): MemberRole.MEMBER,
            (NEWS.id, "ann@example.org"): MemberRole.MEMBER,
            (NEWS.id, "boss@example.org"): MemberRole.OWNER,
        }
        self.messages: list[NewMessage] = []
        self.posts = PostsToday(0, 0, 0)
        self.is_down = False

    async def find_list(self, name: str, domain: str) -> KnownList | None:
        self._check()
        return self.lists.get((name, domain))

    async def is_our_domain(self, domain: str) -> bool:
        self._check()
        return any(known.domain == domain for known in self.lists.values())

    async def known_authors(self, list_id: int, email_keys: Sequence[str]) -> Sequence[KnownAuthor]:
        self._check()
        return [KnownAuthor(self.members[list_id, key]) for key in email_keys if (list_id, key) in self.members]

    async def posts_today(self, list_id: int, author_key: str) -> PostsToday:
        del list_id, author_key
        self._check()
        return self.posts

    async def store(self, message: NewMessage) -> None:
        self._check()
        self.messages.append(message)

    def _check(self) -> None:
        if self.is_down:
            raise StoreUnavailable("connection refused")


class FakeAnnouncer:
    """Remembers what was announced."""

    def __init__(self) -> None:
        self.announced: list[NewMessage] = []

    def announce(self, message: NewMessage) -> None:
        self.announced.append(message)


class FakeIntake:
    """Takes every message, and keeps it; while `gate` is not set it takes its time."""

    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_broken = False

    async def take(self, submission: Submission) -> Reply:
        if self.is_broken:
            raise RuntimeError("intake is broken")
        await self.gate.wait()
        self.submissions.append(submission)
        submission.share.give_back()
        return Reply(250, "2.0.0 Stored as test")


class FakeAuthorship:
    """Knows what is to be believed of every author, and how often it was asked."""

    def __init__(self) -> None:
        self.answer = Belief.PROVEN
        self.questions = 0

    async def belief(
        self, content: bytes, authors: tuple[Address, ...], envelope_sender: str, client: Client
    ) -> Belief:
        del content, authors, envelope_sender, client
        self.questions += 1
        return self.answer
