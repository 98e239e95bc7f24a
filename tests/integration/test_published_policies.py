"""What a domain publishes about mail that fails DMARC, asked of a real DNS server on 127.0.0.1."""

from __future__ import annotations

import pytest

from deploy.local.dns_server import Records, dns_server, txt
from shared.core.dmarc import PublishedPolicy
from shared.dns.dmarc import published_policy
from shared.dns.resolver import LookupFailedError, Resolver

RECORDS: Records = {
    ("strict.test", "MX"): ["10 mx.strict.test."],
    ("_dmarc.strict.test", "TXT"): [txt("v=DMARC1; p=reject; rua=mailto:" + "x" * 300 + "@strict.test")],
    ("_dmarc.lax.test", "TXT"): [txt("v=spf1 -all"), txt("v=DMARC1; p=none")],
    ("_dmarc.alias.test", "CNAME"): ["_dmarc.strict.test."],
    ("_dmarc.broken.test", "ANY"): "SERVFAIL",
    ("_dmarc.silent.test", "ANY"): "SILENCE",
}


async def test_a_policy_is_found_and_asked_for_once_while_it_lasts() -> None:
    async with dns_server(RECORDS) as server:
        resolver = Resolver(("127.0.0.1", server.port), lifetime_seconds=0.5)
        for _ in range(3):
            assert await published_policy(resolver, "strict.test") is PublishedPolicy.REJECT
            assert await published_policy(resolver, "mail.strict.test") is PublishedPolicy.REJECT
            assert await published_policy(resolver, "lax.test") is PublishedPolicy.NONE
            assert await published_policy(resolver, "alias.test") is PublishedPolicy.REJECT
            assert await published_policy(resolver, "none.test") is PublishedPolicy.NONE
        assert server.questions.count("_dmarc.strict.test TXT") == 1
        assert server.questions.count("_dmarc.mail.strict.test TXT") == 1


@pytest.mark.parametrize("domain", ["broken.test", "silent.test", "below.silent.test"])
async def test_no_answer_is_no_policy_but_an_error(domain: str) -> None:
    async with dns_server(RECORDS) as server:
        resolver = Resolver(("127.0.0.1", server.port), lifetime_seconds=0.5)
        with pytest.raises(LookupFailedError):
            await published_policy(resolver, domain)
