from __future__ import annotations

import pytest

from deploy.local import ports


@pytest.fixture(autouse=True)
def all_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_first", 20_000)
    monkeypatch.setattr(ports, "_last", 32_000)
    monkeypatch.setattr(ports, "is_free", lambda _port: True)
    monkeypatch.setattr(ports, "_named", set())


def test_processes_side_by_side_name_different_ports() -> None:
    named = []
    for number in range(3):
        ports.keep_to_part(number, of=3)
        named.append({ports.free_port() for _ in range(500)})
    assert max(named[0]) < min(named[1])
    assert max(named[1]) < min(named[2])
    assert max(named[2]) < 32_768, "those above are the system's"
