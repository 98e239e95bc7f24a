from __future__ import annotations

import pytest

from shared.core.tls_policy import TlsPolicy, policy_for

REQUIRED, OPPORTUNISTIC = TlsPolicy.REQUIRED, TlsPolicy.OPPORTUNISTIC
POLICIES = {
    "example.com": REQUIRED,
    "*.example.com": OPPORTUNISTIC,
    "*.secure.example.com": REQUIRED,
    "*": REQUIRED,
}


@pytest.mark.parametrize(
    ("domain", "policy"),
    [
        ("example.com", REQUIRED),
        ("mail.example.com", OPPORTUNISTIC),
        ("a.b.example.com", OPPORTUNISTIC),
        ("a.secure.example.com", REQUIRED),
        ("secure.example.com", OPPORTUNISTIC),
        ("notexample.com", REQUIRED),
    ],
)
def test_the_nearest_policy_holds(domain: str, policy: TlsPolicy) -> None:
    assert policy_for(domain, POLICIES) is policy


def test_where_nothing_is_set_tls_is_opportunistic() -> None:
    assert policy_for("example.com", {}) is OPPORTUNISTIC
    assert policy_for("example.com", {"*.example.com": REQUIRED, "com": REQUIRED}) is OPPORTUNISTIC
