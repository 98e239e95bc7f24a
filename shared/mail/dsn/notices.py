"""Reports that only people were meant to read: who failed, and why, from the text."""

from __future__ import annotations

import re

from shared.core.bounce import BounceClass, Diagnosis, diagnose, reply_code_in, status_in
from shared.core.smtp_reply import clean_text
from shared.mail.dsn import delivery_status, others
from shared.mail.dsn.addresses import addresses_in, key_of
from shared.mail.dsn.letter import Letter
from shared.mail.dsn.notice import Notice, notice_of
from shared.mail.dsn.parts import header_of, value_of
from shared.mail.dsn.phrases import CHALLENGES, DELAYS, FAILURES, FINALITIES
from shared.mail.dsn.prose import MAX_NAMED, Named, Rank, named_in
from shared.mail.dsn.report import Finding, FindingKind

#: A failure is said within so many of a notice's first lines that are not empty.
_LEAD_LINES = 40


def is_refusal(letter: Letter) -> bool:
    """Whether a receipt (RFC 8098) says that the mail was thrown back: some servers bounce so."""
    return any(re.search(r"automatically rejected|was rejected", text) for text in letter.texts[:1])


def read(letter: Letter, raw: bytes) -> list[Finding]:
    """The findings of a notice; empty when the letter is none."""
    notices = [notice_of(text) for text in letter.texts]
    if not _is_notice(letter, notices):
        return []
    own = letter.own_addresses
    for notice in notices:
        if re.search(r"^(?:final|original)-recipient:", notice.text, re.IGNORECASE | re.MULTILINE):
            found = delivery_status.read_text(notice.text)
            if found:
                return found
    for notice in notices:
        named = _from_field(letter, notice, own) or named_in(notice.lines, own)
        if named and named[0].rank <= Rank.COMMANDED:
            found = _findings(letter, notice, named)
            # Anybody may write of mail that did not arrive; a report says why.
            is_telling = notice.replies or any(each.bounce_class is not BounceClass.OTHER for each in found)
            return found if letter.is_by_a_server or letter.is_from_nobody or is_telling else []
    if not (letter.is_by_a_server or letter.is_from_nobody):
        # Anybody may write of a failure; only a list of those who failed makes a report of it.
        return []
    temporary, permanent = others.failures(raw)
    if notices and (temporary or permanent):
        named = [Named(address, Rank.TOLD, "") for address in permanent or temporary]
        return _findings(letter, notices[0], named)
    for notice in notices:
        named = named_in(notice.lines, own) or _from_returned(letter, notice, own)
        if named:
            return _findings(letter, notice, named)
    return _nobody(letter, notices)


def _is_notice(letter: Letter, notices: list[Notice]) -> bool:
    """Whether a server tells of a failure or a delay: by who wrote it, the subject, and the first lines."""
    if CHALLENGES.are_in(letter.subject) or letter.speaks_of_success:
        return False
    tells = any(_tells(notice) for notice in notices)
    if letter.is_by_a_server:
        return letter.speaks_of_failure or tells
    if letter.speaks_of_failure:
        return tells
    # A program's answer has the null sender too; only a report quotes what a server replied.
    return letter.is_from_nobody and not letter.is_an_answer and tells and any(notice.replies for notice in notices)


def _tells(notice: Notice) -> bool:
    first = [line for line in notice.lines if line.strip()][:_LEAD_LINES]
    return any(not line.startswith(">") and (FAILURES.are_in(line) or DELAYS.are_in(line)) for line in first)


def _from_field(letter: Letter, notice: Notice, own: frozenset[str]) -> list[Named]:
    """Exim's own field, which some others write too; its text is what explains."""
    addresses = addresses_in(letter.says("x-failed-recipients"))[:MAX_NAMED]
    told = {key_of(entry.address): entry for entry in named_in(notice.lines, own)}
    return [told.get(key_of(address), Named(address, Rank.LISTED, "")) for address in dict.fromkeys(addresses)]


def _from_returned(letter: Letter, notice: Notice, own: frozenset[str]) -> list[Named]:
    """The addressee of the returned message, when there is one only and the report names nobody."""
    octets = (
        letter.returned.octets if letter.returned else "\n".join(notice.returned).strip().encode("utf-8", "replace")
    )
    header = header_of(octets)
    for name in ("x-failed-recipients", "to"):
        addresses = addresses_in(value_of(header, name))
        if len(addresses) == 1 and key_of(addresses[0]) not in own:
            return [Named(addresses[0], Rank.MENTIONED, "")]
    return []


def _findings(letter: Letter, notice: Notice, named: list[Named]) -> list[Finding]:
    kind = _kind(letter, notice)
    return [_finding(kind, entry, notice, is_alone=len(named) == 1) for entry in named]


def _finding(kind: FindingKind, entry: Named, notice: Notice, *, is_alone: bool) -> Finding:
    reply, diagnosis = _reply(entry, notice)
    status = status_in(reply)
    if status is None and is_alone:
        status = status_in(notice.replies)
    return Finding(
        kind,
        entry.address or None,
        diagnosis.bounce_class,
        diagnosis.is_hard and kind is FindingKind.BOUNCE and (status or "5").startswith("5"),
        status,
        clean_text(reply) or None,
    )


def _nobody(letter: Letter, notices: list[Notice]) -> list[Finding]:
    """A failure of nobody in particular: whose return path it came to knows whom it is about."""
    notice = next((notice for notice in notices if _tells(notice)), None)
    if notice is None:
        return []
    return [_finding(_kind(letter, notice), Named("", Rank.MENTIONED, ""), notice, is_alone=True)]


def _kind(letter: Letter, notice: Notice) -> FindingKind:
    text = f"{letter.subject}\n{notice.text}"
    is_delay = DELAYS.are_in(text) and not FINALITIES.are_in(text)
    return FindingKind.DELAY if is_delay else FindingKind.BOUNCE


def _reply(entry: Named, notice: Notice) -> tuple[str, Diagnosis]:
    """The words that say most: those beside the address, else a line like a server's reply, else the whole notice."""
    candidates = [entry.words, notice.replies, " ".join(notice.text.split())[:1500]]
    fallback: tuple[str, Diagnosis] | None = None
    for words in candidates:
        if not words:
            continue
        diagnosis = diagnose(None, words)
        if diagnosis.bounce_class is not BounceClass.OTHER:
            return words, diagnosis
        if fallback is None and (reply_code_in(words) or status_in(words)):
            fallback = words, diagnosis
    return fallback or (next(filter(None, candidates), ""), Diagnosis(BounceClass.OTHER, is_hard=False))
