"""The arguments of MAIL and RCPT (RFC 5321 §4.1.2), read strictly and without recursion."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.core.address import Address, InvalidAddress
from shared.core.smtp_reply import Reply

_PATH = re.compile(r'<((?:[^<>"]|"(?:[^"\\]|\\.)*")*)>(?:\s+(.*))?', re.DOTALL)
_BARE_PATH = re.compile(r"([^<>\s]+)(?:\s+(.*))?", re.DOTALL)

NEEDS_SMTPUTF8 = Reply(553, "5.6.7 An address beyond ASCII needs SMTPUTF8")
MALFORMED_SENDER = Reply(553, "5.1.7 The sender's address is not well formed")
TOO_LARGE = Reply(552, "5.3.4 The message is larger than this server takes")
_BAD_PARAMETER = Reply(501, "5.5.4 A parameter is not well formed")
_UNKNOWN_PARAMETER = Reply(555, "5.5.4 A parameter is not known here")


@dataclass(frozen=True, slots=True)
class Sender:
    """What MAIL said."""

    #: The reverse-path; empty for the null sender.
    path: str
    needs_smtputf8: bool
    size_bytes: int


def read_mail(argument: str | None, max_message_bytes: int) -> Sender | Reply:
    """The sender in `FROM:<path> parameters`, or the refusal."""
    found = _split(argument, "FROM:")
    if found is None:
        return Reply(501, "5.5.4 Syntax: MAIL FROM:<address> [SIZE=bytes] [BODY=8BITMIME] [SMTPUTF8]")
    path, parameters = found
    size_bytes, is_smtputf8 = 0, False
    for parameter in parameters.split():
        name, _, value = parameter.upper().partition("=")
        if name == "SIZE":
            if not value.isascii() or not value.isdigit() or len(value) > 20:
                return _BAD_PARAMETER
            size_bytes = int(value)
        elif name == "BODY":
            if value not in ("7BIT", "8BITMIME"):
                return _BAD_PARAMETER
        elif name == "SMTPUTF8" and not value:
            is_smtputf8 = True
        else:
            return _UNKNOWN_PARAMETER
    if size_bytes > max_message_bytes:
        return TOO_LARGE
    if not path.isascii() and not is_smtputf8:
        return NEEDS_SMTPUTF8
    if path:
        try:
            path = Address.parse(path).spelling
        except InvalidAddress:
            return MALFORMED_SENDER
    return Sender(path, is_smtputf8, size_bytes)


def read_rcpt(argument: str | None, *, is_smtputf8: bool) -> str | Reply:
    """The text of the forward-path in `TO:<path>`, or the refusal; who it leads to is not looked at here."""
    found = _split(argument, "TO:")
    if found is None or not found[0]:
        return Reply(501, "5.5.4 Syntax: RCPT TO:<address>")
    path, parameters = found
    if parameters:
        return _UNKNOWN_PARAMETER
    if not path.isascii() and not is_smtputf8:
        return NEEDS_SMTPUTF8
    return path


def _split(argument: str | None, keyword: str) -> tuple[str, str] | None:
    """Path and parameters; `None` when the argument has another form."""
    if argument is None or argument[: len(keyword)].upper() != keyword:
        return None
    rest = argument[len(keyword) :].strip(" \t")
    found = _PATH.fullmatch(rest) or _BARE_PATH.fullmatch(rest)
    return (found.group(1), found.group(2) or "") if found else None
