"""What the domains of a post's authors publish about mail that fails DMARC: asked once a message, before its mailings.

It stands in the mailing's row, so that all copies, on every node, agree.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from uuid import UUID

import structlog

from shared.core.dmarc import PublishedPolicy
from shared.dns.dmarc import Records, published_policy
from shared.dns.resolver import LookupFailedError
from shared.mail.headers import STORED, Header, scan
from shared.mail.lines import with_crlf
from shared.mail.mailboxes import mailboxes
from shared.store import handling
from shared.store.engine import Database

_log = structlog.get_logger(__name__)

#: How long a post may wait for all answers.
LOOKUP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Authors:
    """Looks authors' domains up; the resolver keeps answers as long as they say."""

    database: Database
    resolver: Records

    async def strict_domains(self, message_id: UUID) -> frozenset[str]:
        """Those that publish quarantine or reject; empty when no list of the message asks for it.

        One whose answer did not come counts as strict: a copy that is from the list without need can be answered all
        the same, one that is refused for its author's policy counts as its member's bounce.
        """
        async with self.database.raw() as connection:
            begin = await handling.to_be_mitigated(connection, message_id, STORED.header_bytes)
        domains = _authors_domains(begin) if begin else frozenset()
        are_strict = await asyncio.gather(*(self._is_strict(domain) for domain in sorted(domains)))
        return frozenset(domain for domain, is_strict in zip(sorted(domains), are_strict, strict=True) if is_strict)

    async def _is_strict(self, domain: str) -> bool:
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                return await published_policy(self.resolver, domain) is not PublishedPolicy.NONE
        except (LookupFailedError, TimeoutError) as error:
            _log.warning("DMARC policy not found out, taken for strict", domain=domain, error=str(error) or "timeout")
            return True


def _authors_domains(begin: bytes) -> frozenset[str]:
    header = scan(with_crlf(begin), STORED)
    author = header.first("from") if isinstance(header, Header) else None
    found = mailboxes(author.value.decode("utf-8", "replace")).addresses if author else ()
    return frozenset(address.ascii_domain for address in found)
