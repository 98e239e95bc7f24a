"""Delivery status notifications: message/delivery-status (RFC 3464) and message/global-delivery-status (RFC 6533)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.core.bounce import BounceClass, diagnose, is_vague, status_in
from shared.core.smtp_reply import clean_text
from shared.mail.dsn.addresses import address_in
from shared.mail.dsn.parts import Part
from shared.mail.dsn.report import Finding, FindingKind

TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
MAX_GROUPS = 100

_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{1,60})[ \t]*:[ \t]*(.*)")
#: The types of an address that name a mailbox of the Internet; X.400 and the like name something else.
_MAIL_TYPES = frozenset({"rfc822", "utf-8", "smtp", "rfc822;rfc822", "internet", "dns", "unknown", ""})
_STATUS = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_UTF8_ESCAPE = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_XTEXT_ESCAPE = re.compile(r"\+([0-9A-F]{2})")
_ACTIONS = {
    "failed": FindingKind.BOUNCE,
    # OpenSMTPD.
    "error": FindingKind.BOUNCE,
    "failure": FindingKind.BOUNCE,
    "undeliverable": FindingKind.BOUNCE,
    "delayed": FindingKind.DELAY,
    "delay": FindingKind.DELAY,
    "deferred": FindingKind.DELAY,
    "delivered": FindingKind.NONE,
    "relayed": FindingKind.NONE,
    "expanded": FindingKind.NONE,
}
#: Classes that a status alone gives to much; what the report says to people may say more.
_SAID_OF_ALL = frozenset({BounceClass.SYSTEM, BounceClass.POLICY})

Group = dict[str, str]


def read(parts: list[Part], explanation: str) -> list[Finding]:
    """The findings of all status parts, a recipient once; `explanation` is what the report says to people."""
    groups = [group for part in parts if part.essence in TYPES for group in _groups(part.text)]
    return _findings(groups, explanation)


def read_text(text: str) -> list[Finding]:
    """The findings of status fields that stand in a text: a report whose parts fell apart on its way."""
    return _findings(list(_groups(text)), "")


def _findings(groups: list[Group], explanation: str) -> list[Finding]:
    findings: dict[str, Finding] = {}
    several = sum(1 for group in groups if _recipient(group)) > 1
    for group in groups:
        finding = _finding(group, "" if several else explanation)
        if finding is not None and finding.recipient is not None:
            key = finding.recipient.lower()
            # One recipient became several on the way: where one of them failed, the recipient did not get all.
            if key not in findings or findings[key].kind is FindingKind.NONE:
                findings[key] = finding
    return list(findings.values())


def _groups(text: str) -> Iterator[Group]:
    """The groups of fields between empty lines; the first of a part is about the message, the others about recipients.

    A group in which a second final recipient begins is two: there are servers that leave the empty line out.
    """
    count = 0
    group: Group = {}
    last = ""
    for line in [*text.split("\n"), ""]:
        found = _FIELD.match(line)
        if not line.strip():
            if group:
                yield group
                count += 1
            if count == MAX_GROUPS:
                return
            group, last = {}, ""
        elif line[0] in " \t" and last:
            group[last] = f"{group[last]} {line.strip()}"[:4000]
        elif found is not None:
            last = found.group(1).lower()
            if last in group and last == "final-recipient":
                yield group
                count += 1
                group = {}
            group.setdefault(last, found.group(2).strip())


def _finding(group: Group, explanation: str) -> Finding | None:
    recipient = _recipient(group)
    if recipient is None:
        return None
    status_field = _STATUS.search(group.get("status", ""))
    status = status_field.group(1) if status_field else None
    kind = _kind(group, status)
    if kind is FindingKind.NONE:
        return Finding(kind, recipient, status=status)
    reply = _reply(group)
    if kind is FindingKind.DELAY and status is not None and status.startswith("5"):
        status = None
    diagnosis = diagnose(status, reply)
    if diagnosis.bounce_class is BounceClass.OTHER or (not reply and diagnosis.bounce_class in _SAID_OF_ALL):
        told = diagnose(status, explanation)
        diagnosis = diagnosis if told.bounce_class is BounceClass.OTHER else told
    if status is None or is_vague(status):
        status = status_in(reply) or status
    return Finding(
        kind,
        recipient,
        diagnosis.bounce_class,
        diagnosis.is_hard and kind is FindingKind.BOUNCE,
        status,
        clean_text(reply) or None,
    )


def _kind(group: Group, status: str | None) -> FindingKind:
    word = re.match(r"[a-z]*", group.get("action", "").lower().lstrip("\"'( "))
    action = word.group() if word else ""
    if action in _ACTIONS:
        return _ACTIONS[action]
    # No action, or one that is none: the status decides (RFC 3464 §2.3.4).
    if status is None:
        return FindingKind.BOUNCE if action.startswith(("fail", "err", "undeliv")) else FindingKind.NONE
    return {"5": FindingKind.BOUNCE, "4": FindingKind.DELAY}.get(status[0], FindingKind.NONE)


def _recipient(group: Group) -> str | None:
    """The recipient as the message was sent to it, or else where it ended (RFC 3464 §2.3.1, §2.3.2)."""
    for name in ("original-recipient", "final-recipient", "x-actual-recipient", "x-original-recipient"):
        address = _typed_address(group.get(name, ""))
        if address is not None:
            return address
    return None


def _typed_address(value: str) -> str | None:
    kind, semicolon, rest = value.partition(";")
    if not semicolon:
        kind, rest = "", value
    if "@" in kind:
        # `address; rfc822`, or an address without a type and something behind it.
        kind, rest = "", kind
    if kind.strip().lower() not in _MAIL_TYPES:
        return None
    rest = rest.strip()
    rest = re.sub(r"^(?:rfc822|smtp|utf-8)\s*[;:]\s*", "", rest, flags=re.IGNORECASE)
    if kind.strip().lower() == "utf-8":
        rest = _UTF8_ESCAPE.sub(_unescaped, rest)
    elif "+" in rest:
        # ORCPT travels as xtext (RFC 3461 §4); servers that hand it on as it came leave the escapes in.
        rest = _XTEXT_ESCAPE.sub(_undone_xtext, rest)
    return address_in(rest)


def _unescaped(found: re.Match[str]) -> str:
    number = int(found.group(1), 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else found.group()


def _undone_xtext(found: re.Match[str]) -> str:
    """Only what xtext must escape is undone: `a+30@` is more often a subaddress than a zero."""
    character = chr(int(found.group(1), 16))
    return character if character in "+=@ " else found.group()


def _reply(group: Group) -> str:
    value = group.get("diagnostic-code", "") or group.get("x-diagnostic-code", "")
    kind, semicolon, rest = value.partition(";")
    words = rest if semicolon and re.fullmatch(r"[\w.-]{1,30}", kind.strip()) else value
    if not words.strip():
        # The status may have a comment, or words behind it.
        words = group.get("status", "").partition(" ")[2].strip("() ")
    return " ".join(words.split())
