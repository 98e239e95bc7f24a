from __future__ import annotations

from datetime import UTC, datetime, timedelta

from shared.core.moments import first_id_at, id_at

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_ids_are_in_the_order_of_their_moments() -> None:
    before, after = id_at(NOW - timedelta(milliseconds=1), b"\xff" * 10), id_at(NOW, bytes(10))
    assert before < first_id_at(NOW) <= after < id_at(NOW, b"\xff" * 10)


def test_an_id_says_which_version_it_is_of() -> None:
    for random in (bytes(10), b"\xff" * 10):
        assert (id_at(NOW, random).version, id_at(NOW, random).variant) == (7, "specified in RFC 4122")
