from __future__ import annotations

import resource

import pytest

from services.ingress_smtp.open_files import sessions_by_open_files


@pytest.mark.parametrize(
    ("soft", "hard", "asked_for", "sessions"),
    [
        (1024, 4096, 4096, 3072),
        (1024, 1024, None, 768),
        (1024, resource.RLIM_INFINITY, 65_536, 49_152),
        (1024, 1_048_576, 65_536, 49_152),
        (1_048_576, 1_048_576, None, 49_152),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None, 49_152),
    ],
)
def test_the_files_that_may_be_opened_leave_room_for_sessions(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, asked_for: int | None, sessions: int
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _what, limits: asked.append(limits))
    assert sessions_by_open_files() == sessions
    assert asked == ([] if asked_for is None else [(asked_for, hard)])
