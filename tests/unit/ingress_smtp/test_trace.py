from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.ingress_smtp.trace import Client, received_field
from shared.mail.headers import Header, scan


@pytest.mark.parametrize(
    "greeting", ["evil\r\nBcc: e@x", "evil\nBcc: e@x", "\x00", "é\udcff", "x" * 5000, "", "a;b(c)"]
)
def test_a_clients_greeting_adds_no_field(greeting: str) -> None:
    client = Client("192.0.2.7", greeting, "ESMTP")
    field = received_field(client, "mx.lists.test", UUID(int=7), datetime(2026, 11, 23, tzinfo=UTC))
    header = scan(field + b"\r\n")
    assert isinstance(header, Header)
    assert [field.name for field in header.fields] == ["received"]
    assert all(len(line) <= 998 for line in field.split(b"\r\n"))
    assert b"([192.0.2.7])" in field
