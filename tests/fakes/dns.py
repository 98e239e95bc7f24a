"""A resolver that answers from a table, as `shared.dns.resolver.Resolver` does."""

from __future__ import annotations

from collections.abc import Mapping

from shared.dns.resolver import LookupFailedError, MxRecord, NoSuchDomainError


class FakeResolver:
    """`records` by (name, type): texts; MX as "10 host". The text "FAILS" alone fails. A name without any records does
    not exist."""

    def __init__(self, records: Mapping[tuple[str, str], list[str]]) -> None:
        self._records = {(name.lower(), kind): texts for (name, kind), texts in records.items()}
        #: Every question, as "name TYPE".
        self.questions: list[str] = []

    async def txt(self, name: str) -> tuple[str, ...]:
        return self._ask(name, "TXT")

    async def mx(self, domain: str) -> tuple[MxRecord, ...]:
        split = (text.split() for text in self._ask(domain, "MX"))
        return tuple(MxRecord(int(preference), host) for preference, host in split)

    async def addresses(self, host: str, family: str) -> tuple[str, ...]:
        return self._ask(host, family)

    async def names(self, name: str, kind: str) -> tuple[str, ...]:
        return self._ask(name, kind)

    def _ask(self, name: str, kind: str) -> tuple[str, ...]:
        name = name.lower().rstrip(".")
        self.questions.append(f"{name} {kind}")
        if not any(known == name for known, _ in self._records):
            raise NoSuchDomainError(name)
        texts = self._records.get((name, kind), [])
        if texts == ["FAILS"]:
            raise LookupFailedError(name)
        return tuple(texts)
