from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from shared.core.dkim import DkimAlgorithm
from shared.mail.dkim import SigningKey
from shared.mail.dkim_keys import from_der, make_key, record_text, to_der

RSA = make_key("lists.test", "r", DkimAlgorithm.RSA_SHA256)
ED25519 = make_key("lists.test", "e", DkimAlgorithm.ED25519_SHA256)


def test_an_rsa_key_has_2048_bits() -> None:
    assert isinstance(RSA.private, RSAPrivateKey)
    assert RSA.private.key_size == 2048
    assert (RSA.algorithm, ED25519.algorithm) == (DkimAlgorithm.RSA_SHA256, DkimAlgorithm.ED25519_SHA256)


@pytest.mark.parametrize("key", [RSA, ED25519])
def test_a_key_that_was_written_down_is_read_again(key: SigningKey) -> None:
    assert record_text(from_der(key.domain, key.selector, to_der(key))) == record_text(key)


def test_a_key_of_another_kind_is_none() -> None:
    der = generate_private_key(SECP256R1()).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="no key of a kind"):
        from_der("lists.test", "x", der)
