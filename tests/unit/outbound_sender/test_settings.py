from __future__ import annotations

import pytest

from services.outbound_sender.settings import OutboundSettings
from shared.core.tls_policy import TlsPolicy
from shared.runtime.settings import load

NEEDED = {
    "LISTFLEET_DATABASE_URL": "postgresql://user:password@db.test/listfleet",
    "LISTFLEET_AMQP_URL": "amqp://user:password@broker.test/",
    "LISTFLEET_SECRET": "a secret of at least sixteen",
    "LISTFLEET_RELAY": "relay.test:25",
}


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> OutboundSettings:
    for name, value in {**NEEDED, **variables}.items():
        monkeypatch.setenv(name, value)
    return load(OutboundSettings)


def test_the_timers_are_those_of_the_rfc(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch)
    assert (settings.command_timeout_seconds, settings.final_dot_timeout_seconds) == (300, 600)
    assert settings.source_addresses == ()


def test_source_addresses_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, LISTFLEET_SOURCE_ADDRESSES="192.0.2.1, 192.0.2.2,2001:DB8::1")
    assert settings.source_addresses == ("192.0.2.1", "192.0.2.2", "2001:db8::1")


@pytest.mark.parametrize(
    ("variables", "policy"),
    [
        ({}, TlsPolicy.OPPORTUNISTIC),
        ({"LISTFLEET_RELAY_TLS": "required"}, TlsPolicy.REQUIRED),
        ({"LISTFLEET_RELAY_USER": "u", "LISTFLEET_RELAY_PASSWORD": "p"}, TlsPolicy.REQUIRED),
        (
            {"LISTFLEET_RELAY_USER": "u", "LISTFLEET_RELAY_PASSWORD": "p", "LISTFLEET_RELAY_TLS": "opportunistic"},
            TlsPolicy.OPPORTUNISTIC,
        ),
    ],
)
def test_a_password_goes_to_the_relay_over_tls_unless_somebody_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], policy: TlsPolicy
) -> None:
    assert loaded(monkeypatch, **variables).relay_policy is policy


def test_the_relays_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        LISTFLEET_RELAY_USER="listfleet",
        LISTFLEET_RELAY_PASSWORD="hidden-words",
        LISTFLEET_RELAY_TLS="required",
    )
    assert settings.relay_tls is TlsPolicy.REQUIRED
    assert settings.relay_password is not None
    assert settings.relay_password.get_secret_value() == "hidden-words"
    assert "hidden-words" not in repr(settings)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"LISTFLEET_RELAY_USER": "listfleet"}, "LISTFLEET_RELAY_PASSWORD"),
        ({"LISTFLEET_SOURCE_ADDRESSES": "192.0.2.1,example.com"}, "LISTFLEET_SOURCE_ADDRESSES"),
        ({"LISTFLEET_RELAY_TLS": "sometimes"}, "LISTFLEET_RELAY_TLS"),
        ({"LISTFLEET_MESSAGES_PER_CONNECTION": "0"}, "LISTFLEET_MESSAGES_PER_CONNECTION"),
        ({"LISTFLEET_HOSTNAME": "node.test\r\nMAIL FROM:<evil@evil.test>"}, "LISTFLEET_HOSTNAME"),
        ({"LISTFLEET_HOSTNAME": "node.test\n"}, "LISTFLEET_HOSTNAME"),
    ],
)
def test_a_wrong_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variables: dict[str, str], named: str
) -> None:
    with pytest.raises(SystemExit):
        loaded(monkeypatch, **variables)
    assert named in capsys.readouterr().err
