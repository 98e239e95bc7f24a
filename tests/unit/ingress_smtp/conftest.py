"""A certificate for the server's half of STARTTLS."""

from __future__ import annotations

import ssl

import pytest

from tests.fakes.certificates import write_certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(write_certificate(tmp_path_factory.mktemp("tls") / "both.pem", "mx.lists.test"))
    return context
