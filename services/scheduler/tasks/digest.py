"""A digest is closed: make its mailings, first the one in MIME, then the one in plain text, each once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import structlog

from shared.broker.connection import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.contracts.commands import ExpandMailing, MakeDigest
from shared.contracts.topology import TaskQueue
from shared.core.copies import ReplyToPolicy
from shared.core.digest import DigestFormat
from shared.core.membership import PostingPolicy
from shared.mail.digest.issue import Issue, post_copy, with_defaults
from shared.mail.digest.mime import compose_mime
from shared.mail.digest.plain import PlainPost, compose_plain, plain_post
from shared.mail.template import ListHeaders
from shared.store import contents, digest_mailings
from shared.store.contents import MailingContent
from shared.store.digest_mailings import ComposedDigest, IssueFacts, Pending
from shared.store.engine import Database

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MakeDigests:
    """Goes on with a digest from where its rows say that it stands; any scheduler may, and several at once.

    Nothing is locked while it is composed: of two that composed the same, one finds afterwards that it is made.
    """

    database: Database
    publisher: Publisher
    publish_within_seconds: float
    give_up_after_seconds: float

    async def __call__(self, command: MakeDigest) -> None:
        """Do what comes next; the sweep publishes the command again for what comes then."""
        async with self.database.raw_transaction() as connection:
            step = await digest_mailings.next_step(connection, command.digest_id)
            if step is Pending.EXPANSION:
                await digest_mailings.look_again(connection, command.digest_id)
            elif step is Pending.NOTHING:
                await digest_mailings.end(connection, command.digest_id)
        if not isinstance(step, DigestFormat):
            return
        async with self.database.raw() as connection:
            facts = await digest_mailings.facts_of(connection, command.digest_id)
            posts = await digest_mailings.posts_of(connection, command.digest_id)
        composed = await self._composed(facts, posts, step)
        async with self.database.raw_transaction() as connection:
            if await digest_mailings.next_step(connection, command.digest_id) is not step:
                return
            mailing_id = await digest_mailings.make_mailing(
                connection,
                command.digest_id,
                facts,
                composed,
                expand_again_after_seconds=self.publish_within_seconds,
                give_up_after_seconds=self.give_up_after_seconds,
            )
        _log.info("digest mailed", digest=command.digest_id, mailing=mailing_id, posts=len(posts))
        try:
            await self.publisher.publish(TaskQueue.TASKS.value, ExpandMailing(mailing_id))
        except BrokerUnavailable as error:
            _log.warning("left to the sweep", error=str(error))

    async def _composed(self, facts: IssueFacts, posts: Sequence[int], step: DigestFormat) -> ComposedDigest:
        """One post after the other is read; of those that become plain text, only that is kept."""
        issue = _issue(facts)
        if step is DigestFormat.MIME:
            copies = [await asyncio.to_thread(_copy, await self._content(post)) for post in posts]
            content = await asyncio.to_thread(compose_mime, issue, copies)
        else:
            texts = [await asyncio.to_thread(_plain, await self._content(post)) for post in posts]
            content = await asyncio.to_thread(compose_plain, issue, texts)
        return ComposedDigest(issue.message_uuid, content, issue.title, step)

    async def _content(self, mailing_id: int) -> MailingContent:
        async with self.database.raw() as connection:
            found = await contents.load(connection, mailing_id)
        if found is None:
            raise LookupError(f"There is no mailing {mailing_id}.")
        return found


def _issue(facts: IssueFacts) -> Issue:
    headers = ListHeaders(
        name=facts.list_name,
        domain=facts.list_domain,
        display_name=facts.list_display_name,
        is_announcement=facts.posting_policy is PostingPolicy.ANNOUNCEMENT,
    )
    reply_to = f"{facts.list_name}-owner@{facts.list_domain}" if headers.is_announcement else headers.address
    if facts.reply_to is ReplyToPolicy.ADDRESS and facts.reply_to_address:
        reply_to = facts.reply_to_address
    return Issue(
        list_headers=headers,
        number=facts.number,
        header_text=with_defaults(facts.header_text) if facts.is_personal else facts.header_text,
        footer_text=with_defaults(facts.footer_text) if facts.is_personal else facts.footer_text,
        reply_to=reply_to,
        message_uuid=uuid4(),
        written_at=facts.now,
    )


def _copy(post: MailingContent) -> bytes:
    try:
        return post_copy(
            post.content,
            ListHeaders(
                name=post.list_name or "",
                domain=post.list_domain or "",
                display_name=post.list_display_name,
                is_announcement=post.posting_policy is PostingPolicy.ANNOUNCEMENT,
            ),
            message_id=f"<{post.message_uuid}@{post.list_domain}>",
            received_at=post.received_at,
            settings=post.copies,
            is_personal=post.personal,
        )
    except Exception as error:  # noqa: BLE001
        # Its own mailing tells what is wrong with it. It keeps nobody from the rest.
        _log.warning("a post is not in its digest", message=post.message_uuid, error=f"{type(error).__name__}: {error}")
        return b"Subject: (a post that cannot be read)\r\n\r\n"


def _plain(post: MailingContent) -> PlainPost:
    return plain_post(_copy(post))
