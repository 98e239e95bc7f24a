"""One-click unsubscribing (RFC 8058): each copy says where its own membership is ended, by https and by mail."""

from __future__ import annotations

from urllib.parse import quote

from shared.core.links import LEAVE_PATH
from shared.core.list_address import Door, DoorAddress
from shared.core.tokens import Purpose, Tokens
from shared.mail.segments import CompiledMessage, TokenSlot

_NAME = "List-Unsubscribe"
_POST = b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
#: Stands for the token while the field is put together; tokens that live as long as the mail have one length.
_ANY_TOKEN = Tokens(b"").make(Purpose.LEAVE, 0)


def with_one_click(message: CompiledMessage, *, public_url: str, list_name: str, domain: str) -> CompiledMessage:
    """`message` with a link of each recipient's own in the place of what it says about unsubscribing, and with the
    field that lets programs use it. Both are list fields, so signatures cover them."""
    begin = f"{_NAME}:".lower().encode()
    kept = [piece for piece in message.fields if not (isinstance(piece, bytes) and piece.lower().startswith(begin))]
    return CompiledMessage((*kept, _slot(public_url, list_name, domain), _POST), message.body)


def _slot(public_url: str, list_name: str, domain: str) -> TokenSlot:
    local = quote(DoorAddress(Door.LEAVE, list_name, _ANY_TOKEN).local, safe="")
    field = f"{_NAME}: <{public_url}{LEAVE_PATH}{_ANY_TOKEN}>,\r\n <mailto:{local}@{quote(domain, safe='')}>\r\n"
    return TokenSlot(_NAME, field.replace("%", "%%").replace(_ANY_TOKEN, "%b").encode("ascii"))
