"""Who wrote the message, and as what it gives itself out: the facts of its header."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.mail.dsn.addresses import address_in, addresses_in, key_of
from shared.mail.dsn.parts import Part, parts_of, value_of
from shared.mail.dsn.phrases import ANSWERS, SERVER_NAMES, SERVERS, SUBJECTS, SUCCESSES
from shared.mail.headers import Header

#: What hands a message on or answers it puts this before the subject.
_HANDED_ON = re.compile(
    r"^\s*(?:re|aw|fw|fwd|wg|tr|rv|sv|vs|antw|rif|res|enc|i|odp|ynt|回复|转发|返信|転送)\s*(?:\[\d+\])?\s*[:：]",
    re.IGNORECASE,
)
#: What may stand in a report beside the texts for people and machines.
_RETURNED = re.compile(
    r"message/(?:rfc822|global|partial|external-body|rfc822-headers|global-headers)|text/(?:rfc822|rfc822-?headers)"
)
_PERSONAL_PROGRAMS = re.compile(
    r"thunderbird|outlook|apple mail|iphone mail|ipad mail|mutt|claws|evolution|roundcube|kmail|gnus|pine",
    re.IGNORECASE,
)
_MAX_TEXTS = 4


@dataclass(frozen=True, slots=True)
class Letter:
    """The message's header and parts, with what the readers ask of them."""

    header: Header
    parts: list[Part]
    #: As the server that delivered it was told, or as `Return-Path` says; `None` when neither is known.
    envelope_sender: str | None

    def says(self, name: str) -> str:
        """A field's value on one line; empty when there is none."""
        return value_of(self.header, name)

    @property
    def subject(self) -> str:
        return self.says("subject")

    @property
    def content_type(self) -> str:
        return self.says("content-type").lower()

    @property
    def report_type(self) -> str:
        found = re.search(r"report-type\s*=\s*\"?([\w-]+)", self.content_type)
        return found.group(1) if found else ""

    @property
    def author(self) -> str | None:
        return address_in(self.says("from")) or next(iter(addresses_in(self.says("from"))), None)

    @property
    def is_by_a_server(self) -> bool:
        """Whether it comes from a mail server's own address, or under its name."""
        sender = self.says("from")
        local = (self.author or "").rpartition("@")[0] or sender.strip()
        name = sender.partition("<")[0].strip(' "')
        return (
            SERVERS.fullmatch(local.split("+")[0].split("=")[0]) is not None
            or (SERVER_NAMES.are_in(name) and len(name) < 80)
            or bool(self.says("x-failed-recipients"))
            or (self.content_type.startswith("multipart/report") and self.report_type in ("delivery-status", ""))
            or sender.strip().endswith("<>")
        )

    @property
    def is_from_nobody(self) -> bool:
        """Whether it has the null sender (RFC 5321 §4.5.5): a report, or an answer of a program."""
        return self.envelope_sender in ("", "<>")

    @property
    def speaks_of_failure(self) -> bool:
        """By its subject, which is not one of mail that is answered or handed on."""
        return SUBJECTS.are_in(self.subject) and not self.is_handed_on and not self.speaks_of_success

    @property
    def may_report(self) -> bool:
        """Whether anything but its parts says that it is a report: people attach those that they got."""
        return (
            self.is_by_a_server
            or self.is_from_nobody
            or SUBJECTS.are_in(self.subject)
            or self.speaks_of_success
            or not self.content_type.startswith("multipart/mixed")
        )

    @property
    def speaks_of_success(self) -> bool:
        return SUCCESSES.are_in(self.subject) and "unsuccess" not in self.subject.lower()

    @property
    def is_handed_on(self) -> bool:
        return _HANDED_ON.match(self.subject) is not None

    @property
    def is_an_answer(self) -> bool:
        """A program's answer to a person, by its header (RFC 3834 §5) or its subject."""
        submitted = self.says("auto-submitted").lower()
        marks = ("x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-reply", "x-vacation", "x-mail-autoreply")
        return (
            submitted.startswith("auto-replied")
            or any(self.header.first(mark) is not None for mark in marks)
            or self.says("precedence").lower() in ("auto_reply", "auto-reply")
            or self.says("x-precedence").lower() == "auto_reply"
            or (self.says("x-auto-response-suppress").lower() == "all" and ANSWERS.are_in(self.subject))
            or ANSWERS.are_in(self.subject)
        )

    @property
    def is_a_persons(self) -> bool:
        """Whether somebody wrote it, or a list distributes it: it may well quote a report."""
        program = self.says("user-agent") + self.says("x-mailer")
        return (
            self.is_handed_on
            or (self.header.first("list-id") is not None and not self.is_by_a_server)
            or (_PERSONAL_PROGRAMS.search(program) is not None and not self.is_by_a_server)
            or (self.header.first("in-reply-to") is not None and not self.is_by_a_server and not self.speaks_of_failure)
        )

    @property
    def own_addresses(self) -> frozenset[str]:
        """Keys of those that it comes from and goes to: the report's own, never whom it reports of."""
        names = (
            "to",
            "from",
            "reply-to",
            "sender",
            "return-path",
            "delivered-to",
            "x-original-to",
            "errors-to",
            "x-envelope-to",
        )
        return frozenset(key_of(address) for name in names for address in addresses_in(self.says(name)))

    @property
    def texts(self) -> list[str]:
        """What it says to people, before the message that it returns: plain text, or else what is in HTML."""
        plain: list[str] = []
        marked_up: list[str] = []
        for part in self.parts:
            if _RETURNED.match(part.essence):
                break
            if part.essence == "text/html":
                marked_up.append(part.text)
            elif part.essence.startswith("text/"):
                plain.append(part.text)
        plain = [text for text in plain[:_MAX_TEXTS] if text.strip()]
        return plain + [text for text in marked_up[:1] if text.strip()]

    @property
    def wrapped(self) -> bytes | None:
        """The one message that a server's message consists of: gateways pack reports so; `None` when there is text."""
        is_bare = self.is_by_a_server and not any(text.strip() for text in self.texts)
        return self.parts[0].octets if is_bare and self.parts and self.parts[0].essence == "message/rfc822" else None

    @property
    def returned(self) -> Part | None:
        """The part with the returned message or its header."""
        return next((part for part in self.parts if _RETURNED.match(part.essence)), None)


def letter_of(raw: bytes, envelope_sender: str | None = None) -> Letter:
    """The letter that `raw` is. Without an envelope sender its `Return-Path` is asked."""
    header, parts = parts_of(raw)
    if envelope_sender is None and header.first("return-path") is not None:
        envelope_sender = value_of(header, "return-path").strip()
    return Letter(header, parts, envelope_sender)
