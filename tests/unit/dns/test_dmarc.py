"""The walk's questions, and what comes of their answers."""

from __future__ import annotations

import pytest

from shared.core.dmarc import PublishedPolicy
from shared.dns.dmarc import published_policy
from shared.dns.resolver import LookupFailedError, MxRecord, NoSuchDomainError


class Answers:
    """TXT records by name; a name without any does not exist, one with "fails" is not answered."""

    def __init__(self, **texts: str) -> None:
        self.texts = {name.replace("_", "."): text for name, text in texts.items()}
        self.existing: set[str] = set()
        self.asked: list[str] = []

    async def txt(self, name: str) -> tuple[str, ...]:
        domain = name.removeprefix("_dmarc.")
        self.asked.append(domain)
        if domain not in self.texts:
            raise NoSuchDomainError(name)
        if self.texts[domain] == "fails":
            raise LookupFailedError(name)
        return (self.texts[domain],)

    async def mx(self, domain: str) -> tuple[MxRecord, ...]:
        if domain not in self.existing:
            raise NoSuchDomainError(domain)
        return ()


async def test_the_questions_end_where_a_record_says_whose_it_is() -> None:
    answers = Answers(example_com="v=DMARC1; p=reject; psd=n", com="v=DMARC1; p=none")
    assert await published_policy(answers, "a.example.com") is PublishedPolicy.REJECT
    assert answers.asked == ["a.example.com", "example.com"]


async def test_no_record_anywhere_is_no_policy() -> None:
    answers = Answers()
    assert await published_policy(answers, "a.example.com") is PublishedPolicy.NONE
    assert answers.asked == ["a.example.com", "example.com", "com"]


async def test_a_domain_that_does_not_exist_is_under_np() -> None:
    answers = Answers(example_com="v=DMARC1; p=none; np=reject")
    assert await published_policy(answers, "a.example.com") is PublishedPolicy.REJECT
    answers.existing.add("a.example.com")
    assert await published_policy(answers, "a.example.com") is PublishedPolicy.NONE


async def test_a_question_without_an_answer_is_an_error_not_a_policy() -> None:
    with pytest.raises(LookupFailedError):
        await published_policy(Answers(example_com="fails"), "a.example.com")
