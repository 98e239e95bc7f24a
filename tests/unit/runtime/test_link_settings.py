from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from shared.core.tokens import Purpose, Tokens
from shared.runtime.settings import LinkSettings


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> LinkSettings:
    for name, value in {"secret": "a secret of at least sixteen", **variables}.items():
        monkeypatch.setenv(f"LISTFLEET_{name.upper()}", value)
    return LinkSettings()


def test_links_made_with_a_former_secret_stay_good(monkeypatch: pytest.MonkeyPatch) -> None:
    links = settings(monkeypatch, old_secrets="the one before, the first one of all").links
    now = datetime.now(UTC)
    for secret in (b"the one before", b"the first one of all", b"a secret of at least sixteen"):
        assert links.tokens.read(Purpose.LEAVE, Tokens(secret).make(Purpose.LEAVE, 7), now=now) == 7
    assert links.tokens.make(Purpose.LEAVE, 7) == Tokens(b"a secret of at least sixteen").make(Purpose.LEAVE, 7)
    assert links.public_url is None


@pytest.mark.parametrize(
    "url", ["https://lists.example.org", "https://lists.example.org/web/", "http://127.0.0.1:8081"]
)
def test_a_public_url_has_no_slash_at_its_end(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert settings(monkeypatch, public_url=url).links.public_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["lists.example.org", "ftp://x", "https://", "https://x/?a", "https://x#y", "https://x/a b", "https://x>,<y"]
)
def test_what_is_no_address_of_pages_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(ValidationError):
        settings(monkeypatch, public_url=url)
