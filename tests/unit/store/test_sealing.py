from __future__ import annotations

import pytest

from shared.store.sealing import CannotBeOpened, seal, unseal

SECRET = b"sixteen octets or more"


def test_what_was_sealed_is_opened_by_its_owner() -> None:
    sealed = seal(b"private", secret=SECRET, belongs_to="a")
    assert b"private" not in sealed
    assert unseal(sealed, secret=SECRET, belongs_to="a") == b"private"


def test_sealed_twice_it_looks_different() -> None:
    assert seal(b"x", secret=SECRET, belongs_to="a") != seal(b"x", secret=SECRET, belongs_to="a")


def test_nobody_else_opens_it() -> None:
    sealed = seal(b"private", secret=SECRET, belongs_to="a")
    for wrong, secret, owner in (
        (sealed, b"another secret, quite", "a"),
        (sealed, SECRET, "b"),
        (sealed[:-1], SECRET, "a"),
        (sealed[:-1] + bytes([sealed[-1] ^ 1]), SECRET, "a"),
        (b"", SECRET, "a"),
        (b"short", SECRET, "a"),
    ):
        with pytest.raises(CannotBeOpened):
            unseal(wrong, secret=secret, belongs_to=owner)
