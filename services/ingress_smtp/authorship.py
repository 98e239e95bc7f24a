"""Who wrote a message: asked of the DNS by the rules of SPF, DKIM and DMARC, and only when an answer depends on it."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from datetime import datetime

from services.ingress_smtp.trace import Client
from shared.core.address import Address, InvalidAddress
from shared.core.authorship import Belief
from shared.core.dmarc import DmarcRecord, PublishedPolicy, organizational_domain, policy_of, record_that_counts
from shared.core.spf import Question, SpfResult
from shared.dns.dmarc import dmarc_records
from shared.dns.resolver import LookupFailedError, NoSuchDomainError, Resolver
from shared.dns.spf import check_host
from shared.mail.dkim_signatures import MAX_SIGNATURES, Signature, is_signed_by, signatures
from shared.mail.headers import Header, scan

#: All questions about one message together; clients wait ten minutes (RFC 5321 §4.5.3.2.6).
AUTHENTICATION_SECONDS = 25.0
#: One question with all its retries.
LOOKUP_SECONDS = 5.0
#: More domains than these nobody writes in the name of.
MAX_DOMAINS = 3


class Authorship:
    """Finds out whether messages are by their authors."""

    def __init__(
        self, resolver: Resolver, *, is_trusted_peer: Callable[[str], bool], now: Callable[[], datetime]
    ) -> None:
        """A peer whose word is enough, by its address, is believed without a question."""
        self._resolver = resolver
        self._is_trusted_peer = is_trusted_peer
        self._now = now

    async def belief(
        self, content: bytes, authors: tuple[Address, ...], envelope_sender: str, client: Client
    ) -> Belief:
        """Whether every author's domain is vouched for; never raises for what the DNS does."""
        if self._is_trusted_peer(client.address):
            return Belief.PROVEN
        domains = {author.ascii_domain for author in authors}
        if not domains or len(domains) > MAX_DOMAINS:
            return Belief.UNPROVEN
        try:
            async with asyncio.timeout(AUTHENTICATION_SECONDS):
                return await self._belief(content, domains, envelope_sender, client)
        except TimeoutError:
            return Belief.UNKNOWN_NOW

    async def _belief(self, content: bytes, domains: set[str], envelope_sender: str, client: Client) -> Belief:
        asking = _Asking(self._resolver, content, envelope_sender, client, self._now())
        beliefs = [await asking.belief_in(domain) for domain in sorted(domains)]
        for belief in (Belief.DISOWNED, Belief.UNPROVEN, Belief.UNKNOWN_NOW):
            if belief in beliefs:
                return belief
        return Belief.PROVEN


class _Asking:
    """The questions about one message; each is asked once."""

    def __init__(self, resolver: Resolver, content: bytes, envelope_sender: str, client: Client, now: datetime) -> None:
        self._resolver = resolver
        self._content = content
        header = scan(content)
        self._header = header if isinstance(header, Header) else Header((), 0)
        self._signatures = signatures(self._header, now)
        self._envelope_sender = envelope_sender
        self._client = client
        self._spf: tuple[str, SpfResult] | None = None
        self._proven_signatures: dict[Signature, bool | None] = {}

    async def belief_in(self, author_domain: str) -> Belief:
        """Whether SPF or DKIM vouches for the domain."""
        records = await self._records(author_domain)
        is_unknown = records is None
        counting = record_that_counts(author_domain, records or {})
        policy = (records or {}).get(counting or "")
        by_spf = await self._by_spf(author_domain, records, policy)
        if by_spf:
            return Belief.PROVEN
        is_unknown |= by_spf is None
        looked_at = 0
        for signature in self._signatures:
            if not _may_be_aligned(signature.domain, author_domain) or looked_at == MAX_SIGNATURES:
                continue
            looked_at += 1
            is_strict = policy is not None and policy.strict_dkim
            is_aligned = await self._is_aligned(signature.domain, author_domain, records, is_strict=is_strict)
            if is_aligned is False:
                continue
            is_proven = await self._is_proven(signature)
            if is_aligned and is_proven:
                return Belief.PROVEN
            is_unknown |= is_proven is None or (is_aligned is None and is_proven)
        if is_unknown:
            return Belief.UNKNOWN_NOW
        asked_for = policy_of(author_domain, records or {})
        return Belief.UNPROVEN if asked_for is PublishedPolicy.NONE else Belief.DISOWNED

    async def _by_spf(
        self, author_domain: str, records: dict[str, DmarcRecord] | None, policy: DmarcRecord | None
    ) -> bool | None:
        """`None` when that cannot be known now."""
        sender_domain = _domain_of(self._envelope_sender)
        if sender_domain is None or not _may_be_aligned(sender_domain, author_domain):
            return False
        is_strict = policy is not None and policy.strict_spf
        is_aligned = await self._is_aligned(sender_domain, author_domain, records, is_strict=is_strict)
        if is_aligned is False:
            return False
        result = await self._spf_result(sender_domain)
        if result is SpfResult.PASS:
            return is_aligned
        return None if result is SpfResult.TEMPERROR else False

    async def _spf_result(self, sender_domain: str) -> SpfResult:
        if self._spf is None:
            local = self._envelope_sender.rpartition("@")[0]
            address = ipaddress.ip_address(self._client.address)
            client = getattr(address, "ipv4_mapped", None) or address
            question = Question(client, local, sender_domain, self._client.greeting)
            self._spf = sender_domain, await check_host(self._resolver, question, sender_domain)
        return self._spf[1]

    async def _is_proven(self, signature: Signature) -> bool | None:
        """`None` when the key's record is not to be had now."""
        if signature not in self._proven_signatures:
            self._proven_signatures[signature] = await self._look_at(signature)
        return self._proven_signatures[signature]

    async def _look_at(self, signature: Signature) -> bool | None:
        try:
            records = await self._resolver.txt(signature.key_name)
        except NoSuchDomainError:
            return False
        except LookupFailedError:
            return None
        return await asyncio.to_thread(is_signed_by, signature, self._header, self._content, records)

    async def _is_aligned(
        self, proven: str, author_domain: str, records: dict[str, DmarcRecord] | None, *, is_strict: bool
    ) -> bool | None:
        """RFC 9989 §4.10: the two are one name, or, where that is enough, names of one organisation."""
        if proven == author_domain:
            return True
        if records is None:
            return None
        if is_strict:
            return False
        others = await self._records(proven)
        if others is None:
            return None
        return organizational_domain(proven, others) == organizational_domain(author_domain, records)

    async def _records(self, domain: str) -> dict[str, DmarcRecord] | None:
        try:
            return await dmarc_records(self._resolver, domain)
        except LookupFailedError:
            return None


def _may_be_aligned(one: str, other: str) -> bool:
    """Names of one organisation end alike."""
    return one.rpartition(".")[2] == other.rpartition(".")[2]


def _domain_of(envelope_sender: str) -> str | None:
    try:
        return Address.parse(envelope_sender).ascii_domain
    except InvalidAddress:
        return None
