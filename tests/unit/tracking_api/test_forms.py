from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tracking_api.forms import fields


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"email=ann%40example.com&x=", {"email": "ann@example.com", "x": ""}),
        (b"email=a&email=b", {"email": "b"}),
        (b"", {}),
        (b"&".join(b"a%d=b" % number for number in range(21)), {}),
        ("email=ä%C3%A4".encode(), {"email": "ää"}),
    ],
)
def test_fields_are_those_of_an_urlencoded_form(body: bytes, expected: dict[str, str]) -> None:
    assert fields(body) == expected


@given(st.binary())
def test_any_octets_are_read(body: bytes) -> None:
    fields(body)
