"""Why a delivery failed: the class of a refusal or a bounce, by the remote's words and its codes.

The words come first: `5.7.1` and `550` are said for everything, "user unknown" is not. What a report quotes of its own
help texts must not reach this module, only what the server said of this delivery.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from shared.core import bounce_words


class BounceClass(StrEnum):
    """What stood in the way."""

    NO_SUCH_USER = "no_such_user"
    #: The domain does not exist, or has no mail server.
    NO_SUCH_HOST = "no_such_host"
    MAILBOX_FULL = "mailbox_full"
    TOO_BIG = "too_big"
    #: A rule of the recipient's side: who may write, how, with what proof of the sender.
    POLICY = "policy"
    #: The content was taken for spam or malware.
    SPAM = "spam"
    #: The sending server was: listed, of bad reputation, too fast.
    BLOCKED = "blocked"
    #: The server that was reached does not take mail for the domain.
    RELAY = "relay"
    #: A fault of a server or of the network.
    SYSTEM = "system"
    #: Tried until the time was up.
    EXPIRED = "expired"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The class, and whether it proves that the address is bad: then trying again is of no use."""

    bounce_class: BounceClass
    is_hard: bool


#: Classes that prove the address bad, if the refusal is permanent.
_PROOFS = frozenset({BounceClass.NO_SUCH_USER, BounceClass.NO_SUCH_HOST})

#: RFC 3463 §2; some servers put a # before it, as qmail does.
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]|-\d)")
_REPLY_CODE = re.compile(r"(?<![\d.\[/:#-])([45]\d\d)(?=[ \-:)]|$)")

_WORDS: tuple[tuple[BounceClass, re.Pattern[str]], ...] = tuple(
    (bounce_class, re.compile("|".join(phrases)))
    for bounce_class, phrases in (
        (BounceClass.POLICY, bounce_words.POLICY_SENDER),
        (BounceClass.BLOCKED, bounce_words.BLOCKED),
        (BounceClass.SPAM, bounce_words.SPAM),
        (BounceClass.MAILBOX_FULL, bounce_words.MAILBOX_FULL),
        (BounceClass.EXPIRED, bounce_words.EXPIRED_SURELY),
        (BounceClass.TOO_BIG, bounce_words.TOO_BIG),
        (BounceClass.RELAY, bounce_words.RELAY),
        (BounceClass.OTHER, bounce_words.SUSPENDED),
        (BounceClass.NO_SUCH_HOST, bounce_words.NO_SUCH_HOST),
        (BounceClass.NO_SUCH_USER, bounce_words.NO_SUCH_USER),
        (BounceClass.EXPIRED, bounce_words.EXPIRED),
        (BounceClass.SYSTEM, bounce_words.SYSTEM),
        (BounceClass.POLICY, bounce_words.POLICY),
    )
)

#: By RFC 3463 §3, what follows the class; the first rule that fits. The three-digit ones are Microsoft's.
_SUBJECTS: tuple[tuple[re.Pattern[str], BounceClass], ...] = tuple(
    (re.compile(pattern), bounce_class)
    for pattern, bounce_class in (
        (r"1\.(?:1|3|6|10)", BounceClass.NO_SUCH_USER),
        (r"1\.2|4\.4|4\.310", BounceClass.NO_SUCH_HOST),
        (r"1\.[78]", BounceClass.POLICY),
        (r"2\.2", BounceClass.MAILBOX_FULL),
        (r"2\.3|3\.4", BounceClass.TOO_BIG),
        (r"7\.[567]\d\d", BounceClass.BLOCKED),
        (r"7\.\d+", BounceClass.POLICY),
        (r"4\.7|4\.316", BounceClass.EXPIRED),
        (r"[345]\.[1-9]\d*|1\.9", BounceClass.SYSTEM),
    )
)

#: What a bare reply code says (RFC 5321 §4.2.3); 550, 553 and 554 say nothing of the kind.
_CODES = {
    "421": BounceClass.SYSTEM,
    "451": BounceClass.SYSTEM,
    "452": BounceClass.MAILBOX_FULL,
    "500": BounceClass.SYSTEM,
    "501": BounceClass.SYSTEM,
    "502": BounceClass.SYSTEM,
    "503": BounceClass.SYSTEM,
    "530": BounceClass.POLICY,
    "551": BounceClass.NO_SUCH_USER,
    "552": BounceClass.MAILBOX_FULL,
}
_PASSING = re.compile(r"try(?:ing)? (?:again )?later|temporar|not found, try again|transient")
#: How much of the words is looked at.
_READ_CHARACTERS = 1500


def diagnose(status: str | None, words: str) -> Diagnosis:
    """The diagnosis of one delivery's failure, from its enhanced status (RFC 3463), if any, and the remote's words."""
    words = " ".join(words[:_READ_CHARACTERS].split())
    said = status_in(words)
    best = said if said is not None and (status is None or is_vague(status)) else status
    bounce_class = _by_words(words) or _by_status(best) or _by_code(words) or BounceClass.OTHER
    return Diagnosis(bounce_class, bounce_class in _PROOFS and not _is_transient(best, words))


def status_in(words: str) -> str | None:
    """The first enhanced status of a failure in the remote's words, the specific before the vague (`5.0.0`)."""
    found = [match.group(1) for match in _STATUS.finditer(words) if match.group(1)[0] != "2"]
    return next((status for status in found if not is_vague(status)), found[0] if found else None)


def reply_code_in(words: str) -> str | None:
    """The first SMTP reply code of a failure in the remote's words."""
    found = _REPLY_CODE.search(words)
    return found.group(1) if found else None


def is_vague(status: str) -> bool:
    """Whether the status says no more than its class does."""
    return status.endswith(".0.0")


def _by_words(words: str) -> BounceClass | None:
    words = words.lower()  # many times faster than to ignore case
    return next((bounce_class for bounce_class, pattern in _WORDS if pattern.search(words)), None)


def _by_status(status: str | None) -> BounceClass | None:
    if status is None:
        return None
    subject = status.partition(".")[2]
    return next((bounce_class for pattern, bounce_class in _SUBJECTS if pattern.fullmatch(subject)), None)


def _by_code(words: str) -> BounceClass | None:
    code = reply_code_in(words)
    return None if code is None else _CODES.get(code)


def _is_transient(status: str | None, words: str) -> bool:
    """Whether anything in it says that trying again may help; then the address is not proven bad."""
    code = reply_code_in(words)
    return (status or "").startswith("4") or (code or "").startswith("4") or _PASSING.search(words.lower()) is not None
