from __future__ import annotations

from shared.core.ingress_limits import IngressLimits, ingress_limits_from


def test_what_is_absent_is_inherited_and_null_is_unlimited() -> None:
    defaults = {"max_connections": 10, "max_messages_per_second": 5.0, "accepting_enabled": False}
    limits = ingress_limits_from(defaults, {"max_connections": None, "accepting_enabled": True})
    assert limits == IngressLimits(max_connections=None, max_messages_per_second=5.0)


def test_what_is_not_understood_counts_as_absent() -> None:
    own = {"max_connections": 0, "lanes": ["bulk"], "sending_enabled": False, "max_connections_per_peer": "many"}
    assert ingress_limits_from({"a_later_one": 1}, own) == IngressLimits()
