from __future__ import annotations

from typing import Any

import pytest

from services.ingress_smtp.settings import IngressSettings
from shared.runtime.settings import load

NEEDED = {
    "LISTFLEET_DATABASE_URL": "postgresql://user:password@db.test/listfleet",
    "LISTFLEET_AMQP_URL": "amqp://user:password@broker.test/",
    "LISTFLEET_SECRET": "a secret of at least sixteen",
}


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> IngressSettings:
    for name, value in {**NEEDED, **variables}.items():
        monkeypatch.setenv(name, value)
    return load(IngressSettings)


def test_only_what_has_no_sensible_default_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch)
    assert (settings.smtp_host, settings.smtp_port) == ("127.0.0.1", 2525)
    assert settings.max_message_bytes == 26214400
    assert settings.max_recipients == 100
    assert not settings.is_trusted_proxy("127.0.0.1")


def test_proxies_are_trusted_by_network(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, LISTFLEET_PROXY_PROTOCOL_FROM="10.0.0.0/8, 2001:db8::/32")
    assert settings.is_trusted_proxy("10.1.2.3")
    assert settings.is_trusted_proxy("2001:db8::1")
    assert settings.is_trusted_proxy("::ffff:10.1.2.3")
    assert not settings.is_trusted_proxy("192.0.2.1")
    assert not settings.is_trusted_proxy("")


def test_peers_are_trusted_by_network_and_at_first_only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch)
    assert settings.is_trusted_peer("127.0.0.1")
    assert settings.is_trusted_peer("::ffff:127.0.0.1")
    assert not settings.is_trusted_peer("10.1.2.3")
    assert loaded(monkeypatch, LISTFLEET_TRUSTED_NETWORKS="10.0.0.0/8").is_trusted_peer("10.1.2.3")
    assert not loaded(monkeypatch, LISTFLEET_TRUSTED_NETWORKS="none").is_trusted_peer("127.0.0.1")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"LISTFLEET_SECRET": "short"}, "LISTFLEET_SECRET"),
        ({"LISTFLEET_SMTP_PORT": "0"}, "LISTFLEET_SMTP_PORT"),
        ({"LISTFLEET_HOSTNAME": "two words"}, "LISTFLEET_HOSTNAME"),
        ({"LISTFLEET_PROXY_PROTOCOL_FROM": "10.0.0.1/8"}, "LISTFLEET_PROXY_PROTOCOL_FROM"),
        ({"LISTFLEET_TRUSTED_NETWORKS": "everybody"}, "LISTFLEET_TRUSTED_NETWORKS"),
        ({"LISTFLEET_TLS_KEY": "key.pem"}, "LISTFLEET_TLS_CERTIFICATE"),
        ({"LISTFLEET_TLS_KEY": "/none.pem", "LISTFLEET_TLS_CERTIFICATE": "/none.pem"}, "LISTFLEET_TLS_CERTIFICATE"),
        ({"LISTFLEET_TLS_KEY": __file__, "LISTFLEET_TLS_CERTIFICATE": __file__}, "LISTFLEET_TLS_CERTIFICATE"),
    ],
)
def test_a_wrong_setting_ends_the_process_with_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, variables: dict[str, str], named: str
) -> None:
    with pytest.raises(SystemExit):
        loaded(monkeypatch, **variables)
    assert named in capsys.readouterr().err
