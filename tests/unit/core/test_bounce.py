"""The class of a failure, from the remote's words and codes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.bounce import BounceClass, diagnose, reply_code_in, status_in


@pytest.mark.parametrize(
    ("words", "bounce_class", "is_hard"),
    [
        ("550 5.1.1 <ann@example.org>... User unknown", "no_such_user", True),
        ("550-5.1.1 The email account that you tried to reach does not exist.", "no_such_user", True),
        ("551 5.1.1 no mailbox here by that name", "no_such_user", True),
        ("550 5.4.1 Recipient address rejected: Access denied. [host 2026]", "no_such_user", True),
        ("450 4.1.1 <ann@example.org>: unverified address: unknown user", "no_such_user", False),
        (
            "Name service error for name=x.invalid type=MX: Host not found",
            "no_such_host",
            True,
        ),
        ("Name service error for domain x.example: Host not found, try again", "no_such_host", False),
        ("556 5.1.10 Recipient address has null MX", "no_such_host", True),
        ("452 4.2.2 The recipient's inbox is out of storage space", "mailbox_full", False),
        ("552 5.2.2 Over quota", "mailbox_full", False),
        ("550 5.2.2 <ann@example.org>: user is over quota", "mailbox_full", False),
        ("552 5.3.4 Message size exceeds fixed limit", "too_big", False),
        ("550 5.7.1 Message rejected as spam by content filtering", "spam", False),
        ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.example", "blocked", False),
        ("421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints", "blocked", False),
        ("550 5.7.25 The IP address sending this message does not have a PTR record", "blocked", False),
        ("554 5.7.1 <ann@example.org>: Relay access denied", "relay", False),
        ("553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", "relay", False),
        (
            "550 5.7.26 This mail is unauthenticated: SPF and DKIM did not pass",
            "policy",
            False,
        ),
        ("550 5.1.8 <b@lists.example>: Sender address rejected: Domain not found", "policy", False),
        ("550 5.7.1 Message refused by policy", "policy", False),
        ("554 5.4.6 mail forwarding loop for ann@example.org", "system", False),
        ("connect to mx.example.org[192.0.2.1]:25: Connection refused", "system", False),
        ("delivery temporarily suspended: retry timeout exceeded", "expired", False),
        ("4.4.7 message expired after 5 days", "expired", False),
        ("550 5.2.1 The email account that you tried to reach is disabled.", "no_such_user", True),
        ("554 The account has been temporarily suspended", "other", False),
        ("550 Verification failed for <b@lists.example>: No such person. Sender verify failed", "policy", False),
        ("550 5.7.606 Access denied, banned sending IP [192.0.2.1]", "blocked", False),
        ("554 5.2.0 STOREDRV.Deliver.Exception:QuotaExceededException", "mailbox_full", False),
        ("550 5.7.1 The group only accepts messages from people in its organization", "policy", False),
        ("5.1.2 The recipient's domain name could not be found", "no_such_host", True),
        ("554 no", "other", False),
        ("", "other", False),
    ],
)
def test_the_words_give_the_class(words: str, bounce_class: str, is_hard: bool) -> None:
    diagnosis = diagnose(None, words)
    assert (diagnosis.bounce_class.value, diagnosis.is_hard) == (bounce_class, is_hard)


@pytest.mark.parametrize(
    ("status", "bounce_class", "is_hard"),
    [
        ("5.1.1", "no_such_user", True),
        ("5.1.2", "no_such_host", True),
        ("4.1.1", "no_such_user", False),
        ("5.2.2", "mailbox_full", False),
        ("5.3.4", "too_big", False),
        ("5.4.4", "no_such_host", True),
        ("4.4.7", "expired", False),
        ("5.4.6", "system", False),
        ("5.7.1", "policy", False),
        ("5.7.606", "blocked", False),
        ("5.0.0", "other", False),
        (None, "other", False),
    ],
)
def test_without_words_the_status_decides(status: str | None, bounce_class: str, is_hard: bool) -> None:
    diagnosis = diagnose(status, "")
    assert (diagnosis.bounce_class.value, diagnosis.is_hard) == (bounce_class, is_hard)


def test_a_specific_status_in_the_words_beats_a_vague_one() -> None:
    assert diagnose("5.0.0", "550 5.1.1 rejected").bounce_class is BounceClass.NO_SUCH_USER
    assert status_in("550 5.0.0 x 5.2.2 y") == "5.2.2"


def test_numbers_that_are_no_codes_are_not_taken_for_codes() -> None:
    assert status_in("host 10.5.1.1 said nothing, since 2.0.0") is None
    assert reply_code_in("port 25, [192.0.2.550], 14:550 and #450") is None


@given(st.text(max_size=3000), st.one_of(st.none(), st.text(max_size=20)))
def test_no_words_are_too_odd_to_be_classed(words: str, status: str | None) -> None:
    assert isinstance(diagnose(status, words).bounce_class, BounceClass)
